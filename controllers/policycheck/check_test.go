package policycheck

import (
	"fmt"
	"testing"
	"time"

	"github.com/go-logr/logr"
)

// What an update leaves for a minute is not told; what stays is, and so is its end, at once.
func TestGrace(t *testing.T) {
	changes := 0
	c := NewPolicies()
	c.Leads, c.Log = func() bool { return false }, logr.Discard()
	c.OnChange(func() { changes++ })
	missing := []Finding{{Kind: bindingKind, Name: "scim-operator-grants-of-apps", State: Missing}}
	changed := []Finding{{Kind: policyKind, Name: "scim-operator-grants", State: Changed, Fields: []string{"spec.validations"}}}
	begun := time.Now()
	for _, step := range []struct {
		after    time.Duration
		findings []Finding
		want     string
	}{
		{0, missing, "[] 0 false 0"},
		{time.Minute, nil, "[] 32 true 1"},
		{2 * time.Minute, missing, "[] 32 true 1"},
		{3 * time.Minute, changed, "[] 32 true 1"},
		{4*time.Minute + time.Second, changed, "[ValidatingAdmissionPolicy scim-operator-grants is changed (spec.validations)] 32 true 2"},
		{5 * time.Minute, changed, "[ValidatingAdmissionPolicy scim-operator-grants is changed (spec.validations)] 32 true 2"},
		{6 * time.Minute, missing, "[ValidatingAdmissionPolicyBinding scim-operator-grants-of-apps is missing] 32 true 3"},
		{7 * time.Minute, nil, "[] 32 true 4"},
	} {
		c.take(step.findings, 32, begun.Add(step.after))
		findings, all, known := c.Result()
		if got := fmt.Sprint(findings, " ", all, " ", known, " ", changes); got != step.want {
			t.Errorf("after %v: %s, want %s", step.after, got, step.want)
		}
	}
}

// The log repeats what lasts after half an hour, and no sooner.
func TestDue(t *testing.T) {
	told, begun := &telling{}, time.Now()
	for _, step := range []struct {
		after time.Duration
		text  string
		want  bool
	}{
		{0, "", false}, {0, "a", true}, {time.Minute, "a", false}, {2 * time.Minute, "b", true}, {31 * time.Minute, "b", false},
		{32 * time.Minute, "b", true}, {33 * time.Minute, "", true}, {34 * time.Minute, "", false},
	} {
		if got := told.due(step.text, begun.Add(step.after)); got != step.want {
			t.Errorf("%q after %v: %t", step.text, step.after, got)
		}
	}
}
