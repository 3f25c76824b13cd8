// Package controlplane obtains etcd, kube-apiserver and kubectl, and runs a control plane
// from them on loopback: a real one, without nodes, for `make run`, tests and benchmarks.
//
// Ensure finds or makes the binaries, Start runs them. There is no kube-controller-manager
// unless EnsureControllerManager and StartControllerManager are called: without it nothing
// collects garbage, ends a terminating namespace or fills aggregated ClusterRoles.
//
// It stands at the very beginning of the flow and knows nothing of the operator: it imports
// hack/process and client-go. hack/stack installs the operator on top of it.
package controlplane
