//go:build browser

package observe_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// The page in Chromium, at the widths of a desk and of a phone: axe-core finds nothing, nothing overflows, nothing of a tenant
// runs, nothing is loaded from elsewhere, and all of it is there without script. SCREENSHOTS=DIR keeps what it looked like.
func TestStatusPageInABrowser(t *testing.T) {
	scene := lively().play(t)
	dir := os.Getenv("SCREENSHOTS")
	if dir == "" { // pictures for docs show no attack
		dir = t.TempDir()
		withHostileNames(t)
	}
	command := exec.CommandContext(t.Context(), "node", "browser/look.mjs", operator.Controller.MetricsURL+"/status", dir)
	var complaints strings.Builder
	command.Stderr = &complaints
	output, err := command.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, complaints.String())
	}
	var found struct {
		Violations, Errors, Requests, Overflow []string
		Dialogs                                int
		WithoutScript, FirstStop               string
		Updated                                bool
	}
	must(t, json.Unmarshal(output, &found))
	if len(found.Violations)+len(found.Errors)+len(found.Requests)+len(found.Overflow)+found.Dialogs > 0 {
		t.Errorf("violations %q, errors %q, requests %q, overflow %q, %d dialogs", found.Violations, found.Errors, found.Requests, found.Overflow, found.Dialogs)
	}
	if !strings.Contains(found.WithoutScript, scene.leaver.ID) || found.FirstStop != "To the content" || !found.Updated {
		t.Errorf("without script %q, first stop %q, updated by itself %t", found.WithoutScript, found.FirstStop, found.Updated)
	}
}
