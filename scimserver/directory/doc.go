// Package directory keeps the users and groups of Apps on the Kubernetes API server, which is its only store.
//
// It stands between the HTTP server, which asks it for users and groups as SCIM describes them, and the API server, which
// has them as User, Group and MemberShard objects. What must be right at once is read live: a user or group by id is one
// GET, by name too, because the read model proposes and the live object confirms. Lists, other filters and paging come from
// the read model, a copy in memory fed by watches, one in every replica.
//
// Users and Groups are two collections of the same make (collection.go) over one read model (readmodel.go, pages.go, header.go),
// each with its own writes. members.go joins them.
//
// Package claims ensures uniqueness, package membership stores members, package protocol speaks SCIM. Only effective users
// and groups are visible: those that the claim of their name names. What a crashed request left behind is not visible, nor
// is a user after losing the name to another user.
//
// Changes of one group wait for each other in a process, and are then written together. Among processes the API server
// compares. A group's members are users of its App: other ids are left out of what a client asks for, and reported.
//
// It knows no HTTP: errors are *protocol.Error, which the client can act on, or *UnavailableError, which a later attempt can
// cure. It logs no attribute's value.
package directory
