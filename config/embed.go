// Package config carries the manifests that install scim-operator, so that the dev command and the tests apply the very
// files that kustomize does.
package config

import "embed"

// FS holds the manifests of this folder.
//
//go:embed crd policies rbac samples
var FS embed.FS
