//go:build browser

package okta_test

import (
	"bufio"
	"encoding/json"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// The page of consent in Chromium, in two browsers at once, of which one is approved and one denied: both follow by themselves,
// axe-core finds nothing, nothing overflows or is loaded from elsewhere, and neither another browser nor a frame shows a request.
// SCREENSHOTS=DIR keeps what it looked like.
func TestOAuthConsentInABrowser(t *testing.T) {
	o := newOAuthApp(t, operator.Server.URL, "browser", nil)
	dir := os.Getenv("SCREENSHOTS")
	if dir == "" {
		dir = t.TempDir()
	}
	command := exec.CommandContext(t.Context(), "node", "../observe/browser/consent.mjs", o.okta.Address(nil), o.okta.RedirectURI, dir)
	var complaints strings.Builder
	command.Stderr = &complaints
	output, err := command.StdoutPipe()
	must(t, err)
	must(t, command.Start())
	lines := bufio.NewReader(output)
	read := func(into any) {
		t.Helper()
		line, err := lines.ReadBytes('\n')
		if err != nil {
			_ = command.Wait()
			t.Fatalf("%v\n%s", err, complaints.String())
		}
		must(t, json.Unmarshal(line, into))
	}
	var codes struct{ Approved, Denied string }
	read(&codes)
	o.decide(t, codes.Approved, v1alpha1.DecisionApproved)
	o.decide(t, codes.Denied, v1alpha1.DecisionDenied)
	var found struct {
		Violations, Errors, Requests, Overflow []string
		Returned                               struct{ Approved, Denied []string }
		Denied, Foreign, Announced             string
		Framed                                 bool
	}
	read(&found)
	must(t, command.Wait())
	if len(found.Violations)+len(found.Errors)+len(found.Requests)+len(found.Overflow) > 0 {
		t.Errorf("violations %q, errors %q, requests %q, overflow %q", found.Violations, found.Errors, found.Requests, found.Overflow)
	}
	if !strings.Contains(found.Denied, "denied the request") || !strings.Contains(found.Foreign, "no such request") || found.Framed ||
		!strings.Contains(found.Announced, "Waiting for approval") {
		t.Errorf("denied %q, another browser %q, framed %t, announced %q", found.Denied, found.Foreign, found.Framed, found.Announced)
	}
	query := func(addresses []string) url.Values {
		t.Helper()
		if len(addresses) != 1 {
			t.Fatalf("the browser went back %d times: %q", len(addresses), addresses)
		}
		parsed, err := url.Parse(addresses[0])
		must(t, err)
		return parsed.Query()
	}
	if back := query(found.Returned.Denied); back.Get("error") != "access_denied" || back.Get("state") != o.okta.State || back.Has("code") {
		t.Errorf("the denied browser brings %v", back)
	}
	back := query(found.Returned.Approved)
	if back.Get("state") != o.okta.State || back.Get("iss") != o.issuer {
		t.Errorf("the approved browser brings %v", back)
	}
	tokens, err := o.okta.Redeem(t.Context(), back.Get("code"), nil)
	must(t, err)
	if got := o.status(t, tokens.Access); got != 200 {
		t.Errorf("the token is answered %d", got)
	}
}
