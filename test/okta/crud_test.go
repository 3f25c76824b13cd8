package okta_test

import (
	"net/http"
	"testing"

	okta "github.com/scim-operator/scim-operator/test/okta/client"
)

// Okta's "SCIM 2.0 CRUD Test" has an Okta org do something to a person and then looks at the server: its steps 5, 7, 9,
// 11 and 13. Here the client of this package does what the org would send.
func TestCRUD(t *testing.T) {
	eachDialect(t, func(t *testing.T, dialect okta.Dialect) {
		client, _ := ownApp(t, dialect)
		variables := specVariables(client.Authorization)
		profile := okta.NewProfile(variables["randomEmail"])
		profile.GivenName, profile.FamilyName = variables["randomGivenName"], variables["randomFamilyName"]
		person := okta.Assign(profile)
		// The suite's look-ups have these headers only.
		headers := map[string]string{"Authorization": "{{auth}}", "Accept": "application/scim+json"}
		r := &runner{client: client, variables: variables}
		look := func(s step) func(*testing.T) {
			s.method, s.headers = http.MethodGet, headers
			return func(t *testing.T) { r.step(t, s) }
		}
		byID := func(assertions ...any) step {
			return step{path: "/Users/{{scim_id}}", assertions: all(append([]any{status(200)}, assertions...)...)}
		}

		say(t)(client.AssignUser(t.Context(), person))
		t.Run("5 created", look(step{
			path: `/Users?filter=userName eq "{{randomEmail}}"`,
			assertions: all(status(200),
				equal("Resources[0].userName", "{{randomEmail}}"), equal("Resources[0].emails[0].value", "{{randomEmail}}"),
				equal("Resources[0].name.familyName", "{{randomFamilyName}}"), equal("Resources[0].name.givenName", "{{randomGivenName}}")),
			save: map[string]string{"scim_id": "Resources[0].id"},
		}))
		if t.Failed() {
			return
		}
		person.Profile.GivenName = "Updated"
		say(t)(client.PushProfile(t.Context(), person))
		t.Run("7 updated", look(byID(equal("name.givenName", "Updated"))))
		say(t)(client.Deactivate(t.Context(), person))
		t.Run("9 deactivated", look(byID(equal("active", "false"))))
		say(t)(client.Reactivate(t.Context(), person))
		t.Run("11 reactivated", look(byID(equal("active", "true"))))
		say(t)(client.Deactivate(t.Context(), person))
		t.Run("13 unassigned", look(byID(equal("active", "false"))))
	})
}
