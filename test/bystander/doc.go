// Package bystander measures what an attack by one tenant costs another: a Bystander is an App of a tenant that no attack
// names. Its client looks users up and creates them, deactivates leavers and waits for the API server's denial, and has a
// token suspended, before and during an attack.
//
// It runs against a whole operator that the caller has started with the quickstart sample installed, and asks by HTTP and by
// the API server only.
package bystander
