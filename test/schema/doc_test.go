// Package schema_test holds the CRDs against the Go types: what the API server takes, Go must be able to read. One object that
// the informers cannot decode would end their watch, and with it the work of a process for every tenant.
//
// A walk by reflection finds every field of every kind; each gets a corpus of odd values, written through a real API server.
package schema_test
