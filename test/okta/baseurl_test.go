package okta_test

import (
	"net/http"
	"strings"
	"testing"

	okta "github.com/scim-operator/scim-operator/test/okta/client"
	"github.com/scim-operator/scim-operator/test/okta/harness"
)

// An administrator may enter any of these as base URL, and the credential in any of these forms.
func TestBaseURLs(t *testing.T) {
	_, app := ownApp(t, okta.AppWizard)
	own := "/apps/" + app.Namespace + "/" + app.Name
	for _, base := range []string{"/scim/v2", "", "/", "/scim/v2/", "/scim", "/v2", own + "/scim/v2", own + "/scim/v2/", own, "//scim//v2"} {
		t.Run("base "+base, func(t *testing.T) {
			wholeLife(t, operator.Client(operator.Server, base, app, okta.AppWizard), base)
		})
	}
}

// wholeLife creates, updates, finds, deactivates and deletes one person.
func wholeLife(t *testing.T, client *okta.Client, base string) {
	t.Helper()
	person := okta.Assign(okta.NewProfile(newName(t, "base.url")))
	say(t)(client.TestConnection(t.Context(), true))
	created := say(t)(client.AssignUser(t.Context(), person))
	// The location leads to the user, whatever the base URL.
	location := created.Text("meta", "location")
	if got := created.Header.Get("Location"); got != location {
		t.Errorf("Location is %q, meta.location %q", got, location)
	}
	at := *client
	at.BaseURL = ""
	answer := do(t, &at, http.MethodGet, location, "")
	must(t, answer.ExpectUser())
	if path := strings.TrimSuffix(base, "/"); path != "//scim//v2" && !strings.Contains(location, path+"/Users/") {
		t.Errorf("meta.location is %q, want it under the base URL %q", location, path)
	}
	person.Profile.FamilyName = "Changed"
	say(t)(client.PushProfile(t.Context(), person))
	say(t)(client.Deactivate(t.Context(), person))
	must(t, do(t, client, http.MethodDelete, "/Users/"+person.ID, "").ExpectStatus(http.StatusNoContent))
}

func TestAuthorizationForms(t *testing.T) {
	client, app := ownApp(t, okta.AppWizard)
	for _, form := range []string{"Bearer ", "", "Bearer Bearer ", "bearer ", "BEARER ", "Bearer  "} {
		client.Authorization = form + app.Token
		t.Run(form+"x", func(t *testing.T) { say(t)(client.TestConnection(t.Context(), false)) })
	}
}

// The path may name the App, but only the token opens it.
func TestPathOfAnotherApp(t *testing.T) {
	_, app := ownApp(t, okta.AppWizard)
	_, other := ownApp(t, okta.AppWizard)
	for name, base := range map[string]string{
		"another App":       "/apps/" + other.Namespace + "/" + other.Name + "/scim/v2",
		"another namespace": "/apps/" + other.Namespace + "/" + app.Name + "/scim/v2",
		"no such App":       "/apps/" + app.Namespace + "/nothing/scim/v2",
		"the quickstart":    "/apps/" + harness.SampleNamespace + "/" + harness.SampleApp + "/scim/v2",
	} {
		t.Run(name, func(t *testing.T) {
			client := operator.Client(operator.Server, base, app, okta.AppWizard)
			for _, target := range []string{"/Users", "/Users/some-id", "/Schemas"} {
				answer := do(t, client, http.MethodGet, target, "")
				must(t, answer.ExpectStatus(http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound))
			}
			answer := do(t, client, http.MethodPost, "/Users", userJSON(newName(t, "stray"), ""))
			must(t, answer.ExpectStatus(http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound))
		})
	}
}

// Ingress controllers ask for what they like: parameters that SCIM does not have are passed over.
func TestUnknownParameters(t *testing.T) {
	client, _ := ownApp(t, okta.AppWizard)
	answer := do(t, client, http.MethodGet, "/Users?startIndex=1&count=2&aadOptscim062020&x=y", "")
	must(t, answer.ExpectUsers())
}
