package main

import (
	"testing"

	"github.com/scim-operator/scim-operator/hack/controlplane"
)

// The oldest version that is tried is the oldest that is taken.
func TestOldestIsTheOldestTried(t *testing.T) {
	if got := oldest.String(); got != controlplane.Oldest() {
		t.Errorf("the operator starts on %s, the tests on %s", got, controlplane.Oldest())
	}
}
