// Package approlebinding writes who holds which role of an App in which scope: AppRoleBindings, and the RoleBindings and
// ClusterRoleBindings made from them. Nothing else writes either.
//
// The user controller puts what each person earned into the Index and has every RoleInScope (App, role, scope) run that someone
// gained or lost: by RequestGrants, which comes back when the run is done, or by SyncRemoval, which waits. A run of one key reads
// its bindings, compares them with the index and writes what differs: first the removals of people, then the
// AppRoleBindings, then the grants, and last the removal of what is no longer needed. Runs that only grant rest between
// each other; a removal ends the rest, and interrupts a run that grants. The controller of this package has keys run for
// what it watches: Apps, namespaces, and edits of the bindings by others, which are undone.
//
// Nobody gets into a native binding who was not evaluated for the state of the App that asks for it: who was evaluated for
// an earlier one keeps exactly the native bindings in which they are.
//
// syncer.go, grantRequest.go and bound.go are what others call; runner.go says when a key runs, run.go in which steps;
// people.go and packing.go decide who is in which AppRoleBinding, native.go and write.go see to the native bindings, unlabelled.go
// finds those that somebody took the marks from.
package approlebinding
