// Package claims keeps names unique: no two effective users of one App share a userName, and no two groups a displayName,
// under any number of replicas, renames and crashes.
//
// Kubernetes makes only metadata.name unique, so a name is claimed by creating a NameClaim. Its object name is the hash of
// App, attribute and folded name. A holder (a User or a Group) is effective while the claim of its key names it. No clock,
// lease or leader is part of that argument; a grace time decides only when the leftovers of crashed requests are collected.
//
//   - Create writes the holder, then its claim. A request that loses the claim deletes its own holder.
//   - Rename writes the wanted key beside the old one, claims it, commits both by compare-and-swap, and lets the old claim
//     go.
//   - One rule deletes claims, everywhere: read the claim, then its holder, live, and delete the claim only where the holder
//     is absent or has neither of its keys there, with the claim's resourceVersion as precondition. A holder that adopts a
//     claim of its own touches it, so that a deletion decided on an older reading fails.
//   - A claim is older than its holder where a backup puts it back first. Before such a claim counts, it is touched, too: a
//     deletion may be under way that was decided while the holder was absent.
//
// The package stands between the directory (which makes Users and Groups out of SCIM resources), the controllers (which
// verify a claim before they grant anything) and the API server. It reads live only: an informer's copy may be older than
// the fact that decides. What Sightings has of a watch is newer than the holder that it speaks of, or says nothing. No HTTP, no
// SCIM errors.
package claims
