// Package rfc asks a running server for what RFC 7643, 7644 and 9865 require of a service provider, over HTTP, one test a
// section or two. docs/protocol.md says which requirement each test shows.
//
// It stands outside the flow: it starts the whole operator with test/okta/harness and is imported by nothing.
package rfc
