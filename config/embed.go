// Package config carries the manifests that install scim-operator, so that the dev command and the tests apply the very
// files that kustomize does.
package config

import "embed"

// FS holds the manifests of this folder.
//
//go:embed crd policies rbac samples
var FS embed.FS

// Policies holds the admission policies and their bindings, among them the guard of the CustomResourceDefinitions. The controller
// compares the cluster's with these.
//
//go:embed policies/*.yaml crd/guard.yaml
var Policies embed.FS

// Definitions holds the CustomResourceDefinitions, which the controller compares the cluster's with, too.
//
//go:embed crd/bases/*.yaml
var Definitions embed.FS
