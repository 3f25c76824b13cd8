//go:build conformance

package conformance

import (
	"os"
	"regexp"
	"slices"
	"testing"
)

// Each class in the code has its row, and each row its class.
func TestDisagreementsAreListed(t *testing.T) {
	text, err := os.ReadFile("disagreements.md")
	if err != nil {
		t.Fatal(err)
	}
	var listed []string
	for _, row := range regexp.MustCompile(`(?m)^\| ([FP]-[a-z-]+) \|`).FindAllStringSubmatch(string(text), -1) {
		listed = append(listed, row[1])
	}
	known := append(patchClassIDs(), "F-refused")
	for _, class := range filterClasses {
		known = append(known, class.id)
	}
	slices.Sort(listed)
	slices.Sort(known)
	if !slices.Equal(listed, known) {
		t.Errorf("disagreements.md lists %v,\nthe tests know %v", listed, known)
	}
}
