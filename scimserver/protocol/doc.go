// Package protocol is SCIM 2.0 (RFC 7643, RFC 7644 and RFC 9865) as pure functions over decoded JSON: schemas, request bodies,
// filters, sorting, PATCH, bulk, projection, responses and errors.
//
// It stands between the HTTP server and the directory. The server hands it request bodies and query parameters; what it
// returns is normalised (canonical attribute names, coerced types, no password), so that the directory stores one form of
// everything. On the way out it renders stored resources as clients see them: each attribute in the container it arrived in.
//
// A group's members are kept apart from its other attributes: they are read and written as a stream of ids, and a PATCH becomes
// steps on a set, so that nothing here needs a group of 100,000 in memory.
//
// What clients send differs from the RFCs, and refusing a write can leave a person with access that was meant to end. The
// package therefore accepts every deviation it can read without guessing, and answers 400 only for what has no clear meaning.
//
// It knows no Kubernetes and no HTTP.
package protocol
