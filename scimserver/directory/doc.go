// Package directory keeps the users of Apps on the Kubernetes API server, which is its only store.
//
// It stands between the HTTP server, which asks it for users as SCIM describes them, and the API server, which has
// them as User objects. What must be right at once is read live: a user by id is one GET, by userName too, because
// the read model proposes and the live object confirms. Lists, other filters and paging come from the read model, a
// copy in memory fed by watches, one in every replica.
//
// Uniqueness is package claims' business, SCIM itself package protocol's. Only effective users are visible: those whose
// name's claim names them. What a crashed request left behind, or a user who lost their name to another, is not.
//
// It imports claims, protocol and the API types. It knows no HTTP: errors are *protocol.Error, which the client can act
// on, or *Unavailable, which a later attempt can cure. It logs no attribute's value.
package directory
