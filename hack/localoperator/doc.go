// Package localoperator puts the operator onto a control plane: it installs the manifests of config/,
// mints ServiceAccount credentials, and runs `scim-operator server` and `scim-operator
// controller` as processes of their own. The dev command, the black-box tests and the
// benchmarks share it.
//
// It stands between hack/controlplane, which gives it a rest.Config, and the operator's
// binary, of which it knows the command line only.
package localoperator
