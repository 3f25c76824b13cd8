// Package e2e plays Okta against the operator as it runs in a cluster: the image that the Dockerfile builds, two replicas of
// the server and of the controller, TLS, a Service. Scenarios restart, kill, scale, update, restore and uninstall it
// while changes go on; a ledger of acknowledged changes tells afterwards whether one was lost.
//
// The tests have the build tag e2e: `make e2e` runs them (docs/e2e.md). They stand outside the operator: they speak SCIM
// to its Service and ask the API server as a person with kubectl does. What needs no cluster is in ledger and report,
// which every `make test` checks.
package e2e
