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
	"time"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// The page of consent in Chromium, in three browsers at once, of which one is approved, one denied, and one expires: all follow by
// themselves, a keyboard reaches what there is to reach and it is seen there, nothing moves, axe-core finds nothing, nothing overflows or is loaded from elsewhere, and neither another browser nor a frame shows a
// request. A forged redirect goes nowhere. Of the codes that three tabs of the approved browser took back, one is redeemed.
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
	var codes struct{ Approved, Denied, Expired string }
	read(&codes)
	o.expire(t, codes.Expired, time.Minute)
	o.decide(t, codes.Approved, v1alpha1.DecisionApproved)
	o.decide(t, codes.Denied, v1alpha1.DecisionDenied)
	var found struct {
		Violations, Errors, Requests, Overflow []string
		Returned                               map[string][]string
		Denied, Expired, Forged                string
		Foreign, Announced                     string
		Framed                                 bool
		Keyboard                               map[string]string
		Moving                                 []string
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
	if !strings.Contains(found.Expired, "was not approved within 10 minutes") || !strings.Contains(found.Forged, "redirect_uri") {
		t.Errorf("expired %q, forged %q", found.Expired, found.Forged)
	}
	if len(found.Moving) > 0 || found.Keyboard["pending"] != "command" || found.Keyboard["denied"] != "Back to system-admin.okta.com" || found.Keyboard["expired"] != found.Keyboard["denied"] {
		t.Errorf("by keyboard %q, moving %q", found.Keyboard, found.Moving)
	}
	query := func(name string) url.Values {
		t.Helper()
		addresses := found.Returned[name]
		if len(addresses) != 1 {
			t.Fatalf("%s went back %d times: %q", name, len(addresses), addresses)
		}
		parsed, err := url.Parse(addresses[0])
		must(t, err)
		if back := parsed.Query(); back.Get("state") != o.okta.State || back.Get("iss") != o.issuer {
			t.Errorf("%s brings %v", name, back)
		}
		return parsed.Query()
	}
	for _, name := range []string{"denied", "expired"} {
		if back := query(name); back.Get("error") != "access_denied" || back.Has("code") {
			t.Errorf("the %s browser brings %v", name, back)
		}
	}
	if len(found.Returned["forged"]) > 0 {
		t.Errorf("a forged redirect went to %q", found.Returned["forged"])
	}
	var access []string
	for _, name := range []string{"approved", "first tab", "second tab"} {
		tokens, err := o.okta.Redeem(t.Context(), query(name).Get("code"), nil)
		must(t, err)
		if tokens.Access != "" {
			access = append(access, tokens.Access)
		}
	}
	if len(access) != 1 || o.status(t, access[0]) != 200 {
		t.Errorf("%d codes of one request were redeemed", len(access))
	}
}
