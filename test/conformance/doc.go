// Package conformance compares the protocol with other people's reading of it: with two independent libraries for filters and
// PATCH on generated inputs, and with docs/protocol.md, which names a test for every requirement of the RFCs.
//
// It stands outside the flow. What needs
// Node.js is behind the build tag conformance (make conformance); the table is checked in every test run.
package conformance
