// Package schedule runs work by key: one run of a key at a time, and calls that come while a run is under way share the next
// one.
//
// A call that must take access away is urgent. Its run begins as soon as the run under way ends, and it tells that run,
// which may stop half-way. Other runs rest after each other, take a slot of their lane, and wait a moment while a removal is
// under way elsewhere.
//
// Libraries were looked at: golang.org/x/sync/singleflight shares the run that is under way, and its input may be older than
// the call; a work queue of client-go coalesces keys and has neither callers that wait for a result nor a run that makes way
// for another.
package schedule
