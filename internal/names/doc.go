// Package names holds the rules of names that server and controller share: how names compare, which ones Kubernetes keeps for
// itself, and how object names are made from hashes and random characters. It is pure.
package names
