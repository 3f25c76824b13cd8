// Package client has an independent SCIM client provision through a running server: SCIMMY makes the requests and reads the
// answers (../judges/client.mjs). It starts the whole operator with test/okta/harness. It needs Node.js, so its tests are behind the build tag conformance (make conformance).
package client
