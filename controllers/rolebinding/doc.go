// Package rolebinding writes who holds which role of an App in which scope: AppRoleBindings, and the RoleBindings and
// ClusterRoleBindings made from them. Nothing else writes either.
//
// The user controller puts what each person earned into the Index and calls Syncer.Sync for every Key (App, role, scope)
// that someone gained or lost. A run of one key reads its bindings, compares them with the index and writes what
// differs: first the removals of people, then the AppRoleBindings, then the grants, and last the removal of what is no
// longer needed. The controller of this package calls the same Sync for what it watches: Apps, namespaces, and edits
// of the bindings by others, which are undone.
//
// It imports controllers/access and api/v1alpha1.
package rolebinding
