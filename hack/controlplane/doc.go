// Package controlplane obtains etcd, kube-apiserver and kubectl, and runs a control plane
// from them on loopback: a real one, without nodes, for `make run`, tests and benchmarks.
//
// Ensure finds or makes the binaries, Start runs them. There is no kube-controller-manager
// unless EnsureControllerManager and StartControllerManager are called: without it nothing
// collects garbage, ends a terminating namespace or fills aggregated ClusterRoles.
//
// Binaries come from setup-envtest, pinned by src/envtest, or are built where no release can be downloaded. envtest's own
// control plane is not used: it deletes its data when it stops, makes new keys at each start, and restarts etcd and API server
// only together; `make run` keeps its people, and fault tests stop the one and leave the other.
package controlplane
