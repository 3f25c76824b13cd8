package statuspage

import (
	"bytes"
	"html/template"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/scim-operator/scim-operator/controllers/policycheck"
)

const hostile = `</td><script>alert(1)</script><img src=x onerror=alert(2)>"'&`

// Whatever a tenant may name is text on the page, in every place of it.
func TestEveryTextIsEscaped(t *testing.T) {
	shown := &view{
		At: time.Now(), Role: hostile, AllApps: 1,
		Problems: []problem{{hostile, hostile, hostile}},
		Apps: []appView{{
			Name: hostile, DisplayName: hostile, Mode: hostile, Path: hostile, External: hostile, Ready: hostile, LastUse: hostile,
			Users: []count{{hostile, 1}}, Groups: []count{{hostile, 1}}, Granting: hostile, Revoking: hostile,
		}},
		Tokens: []tokenView{{hostile, hostile, hostile, hostile, hostile, true}},
		Facts:  []factView{{Action: hostile, Resource: hostile, ID: hostile, App: hostile, Detail: hostile, From: hostile}},
	}
	var out bytes.Buffer
	if err := page.Execute(&out, shown); err != nil {
		t.Fatal(err)
	}
	text := out.String()
	if strings.Contains(text, "<script>") || strings.Contains(text, "<img") {
		t.Errorf("a tenant's text is markup:\n%s", text)
	}
	if got := strings.Count(text, template.HTMLEscapeString("<img src=x")); got != 26 {
		t.Errorf("%d texts are on the page: one is left out or twice", got)
	}
}

// The styles and the script are those that the policy names by their hash.
func TestPolicyNamesThePartsOfThePage(t *testing.T) {
	recorder := httptest.NewRecorder()
	(&Page{}).ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, "/status", nil))
	body := recorder.Body.String()
	for tag, directive := range map[string]string{"style": "style-src ", "script": "script-src "} {
		_, rest, _ := strings.Cut(body, "<"+tag+">")
		inside, _, found := strings.Cut(rest, "</"+tag+">")
		if policy := recorder.Header().Get("Content-Security-Policy"); !found || !strings.Contains(policy, directive+hash(inside)) {
			t.Errorf("the policy %q does not name the page's %s", policy, tag)
		}
	}
	if !strings.Contains(body, "has not read the cluster yet") {
		t.Errorf("a process that begins says: %s", body)
	}
}

// Policies that are not in place come before the problems of Apps, each by its name.
func TestProblemsOfPolicies(t *testing.T) {
	found := []policycheck.Finding{
		{Kind: "ValidatingAdmissionPolicyBinding", Name: "scim-operator-grants-of-apps", State: policycheck.Missing},
		{Kind: "ValidatingAdmissionPolicy", Name: "scim-operator-grants", State: policycheck.Changed, Fields: []string{"spec.validations"}},
	}
	shown := &view{}
	shown.problemsOfPolicies(&Source{Policies: func() ([]policycheck.Finding, int, bool) { return found, 32, true }})
	if len(shown.Problems) != 2 || !strings.HasPrefix(shown.Problems[0].What, "ValidatingAdmissionPolicyBinding scim-operator-grants-of-apps is missing.") ||
		!strings.Contains(shown.Problems[1].What, "is changed (spec.validations).") || !strings.Contains(shown.Problems[1].Do, "ScimOperatorAdmissionPoliciesMissing") {
		t.Errorf("%+v", shown.Problems)
	}
	older := []policycheck.Finding{{Kind: "CustomResourceDefinition", Name: "users.scim-operator.io", State: policycheck.Changed, Fields: []string{"spec.versions.v1alpha1.schema"}}}
	shown = &view{}
	shown.problemsOfDefinitions(&Source{Definitions: func() ([]policycheck.Finding, int, bool) { return older, 9, true }})
	if len(shown.Problems) != 1 || !strings.HasPrefix(shown.Problems[0].What, "CustomResourceDefinition users.scim-operator.io is changed (spec.versions.v1alpha1.schema).") ||
		!strings.Contains(shown.Problems[0].Do, "ScimOperatorDefinitionsDiffer") {
		t.Errorf("%+v", shown.Problems)
	}
}

func TestOnLoopback(t *testing.T) {
	for host, want := range map[string]int{
		"localhost:8083": http.StatusOK, "localhost": http.StatusOK, "127.0.0.1:8083": http.StatusOK, "[::1]:8083": http.StatusOK, "[::1]": http.StatusOK,
		"evil.example.com": http.StatusMisdirectedRequest, "evil.example.com:8083": http.StatusMisdirectedRequest, "localhost.evil.example.com": http.StatusMisdirectedRequest,
		"10.0.0.1:8083": http.StatusMisdirectedRequest, "": http.StatusMisdirectedRequest, "127.0.0.1.nip.io": http.StatusMisdirectedRequest,
	} {
		request := httptest.NewRequest(http.MethodGet, "/status", nil)
		request.Host = host
		recorder := httptest.NewRecorder()
		OnLoopback(&Page{}).ServeHTTP(recorder, request)
		if recorder.Code != want {
			t.Errorf("Host %q: %d, want %d", host, recorder.Code, want)
		}
	}
}
