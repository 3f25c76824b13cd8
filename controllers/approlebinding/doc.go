// Package approlebinding writes which user holds which role of an App in which scope: AppRoleBindings, and the RoleBindings and
// ClusterRoleBindings made from them. Nothing else writes either.
//
// The user controller puts what each user has earned into the earned.Index, and has each role in a scope (a key) run that a
// user gained or lost: by RequestGrants, which returns at once, or by SyncRemovals, SyncLeaver and SyncGone, which wait. The
// controller of this package has keys run for what it watches: Apps, namespaces, and edits of the bindings by others, which are undone.
//
// A run gathers its input, makes a plan, and writes what differs from it: first the removals of users, then the
// AppRoleBindings, then the grants, and last the removal of what is no longer needed. AppRoleBindings that lose leavers alone come
// after that, or in a later run (trailing.go). A run that callers wait for with a removal alone ends after the removals and leaves the rest to
// the next one, which is not urgent. A native binding gains only
// subjects of users that were evaluated for the state of the App that asks for it: users evaluated for an earlier one keep exactly the
// native bindings that name them.
//
// Where a line lives:
//   - syncer.go is what others call, controller.go and rechecks.go what has keys run, unlabelled.go finds native bindings that
//     others took the labels from;
//   - runs.go says when a key runs (internal/schedule does it), turns.go how Apps share slots, runner.go and run.go in which
//     steps, memory.go what one run leaves to the next;
//   - gather.go, people.go and reader.go read; packing and plan.go decide, and need no client;
//   - trailing.go knows leavers that AppRoleBindings name for a moment longer;
//   - nativewriter.go, bindingwriter.go and status.go write, objects.go holds what exists meanwhile, overlay what informers do
//     not show yet;
//   - edits.go, differences.go and repair.go tell what others changed.
package approlebinding
