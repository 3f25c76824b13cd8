// Package plugin holds the commands of `kubectl scim`.
//
// It runs on an administrator's machine, with the rights of the kubeconfig and no others. What it shows is computed from the
// objects that the API server returns, by the packages that the server and the controller use themselves: SCIM filters by
// scimserver/protocol, roles by internal/access. Commands that need the SCIM server (test, import, export) speak SCIM over
// HTTP with an App's token.
//
// The operator's binary links nothing of it.
package plugin
