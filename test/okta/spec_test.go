package okta_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"

	okta "github.com/scim-operator/scim-operator/test/okta/client"
)

// Okta's "SCIM 2.0 SPEC Test" in its generations: A (April 2016), B (November 2016), C (August 2017) and D (May 2024,
// current). Every request and every assertion is here but two kinds: response times, which are logged, and pauses.
// They want at least one user in the directory, the first one listed with names and an email address.
func TestSpec(t *testing.T) {
	for _, generation := range []struct {
		name  string
		steps []step
	}{
		{"A", generationA()},
		{"B", generationB()},
		{"C", generationC()},
		{"D", slices.Concat(generationC(), sinceD())},
	} {
		t.Run(generation.name, func(t *testing.T) {
			client, _ := ownApp(t, okta.AppWizard)
			say(t)(client.AssignUser(t.Context(), okta.Assign(okta.NewProfile(newName(t, "already.there")))))
			r := &runner{client: client, variables: specVariables(client.Authorization)}
			r.run(t, generation.steps)
		})
	}
}

// specVariables are what the suites' initial script makes.
func specVariables(authorization string) map[string]string {
	digits := func() string { return fmt.Sprintf("%03d", rand.IntN(1000)) }
	letters := make([]byte, 9)
	for i := range letters {
		letters[i] = byte('a' + rand.IntN(26))
	}
	given := "Runscope" + digits()
	family := strings.ToUpper(string(letters[:1])) + string(letters[1:]) + digits()
	email := given + family + "@atko.com"
	return map[string]string{
		"auth":                   authorization,
		"randomGivenName":        given,
		"randomFamilyName":       family,
		"randomEmail":            email,
		"randomUsername":         email,
		"randomUsernameCaps":     strings.ToUpper(email),
		"InvalidUserEmail":       "abcdefgh@atko.com",
		"UserIdThatDoesNotExist": "010101001010101011001010101011",
	}
}

const specUser = `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"userName":"{{randomUsername}}",` +
	`"name":{"givenName":"{{randomGivenName}}","familyName":"{{randomFamilyName}}"},` +
	`"emails":[{"primary":true,"value":"{{randomEmail}}","type":"work"}],` +
	`"displayName":"{{randomGivenName}} {{randomFamilyName}}","active":true}`

// postHeaders are all that the suites' POST requests have.
var postHeaders = map[string]string{
	"Content-Type":  "application/json",
	"Authorization": "{{auth}}",
	"Accept":        "application/scim+json; charset=utf-8",
}

var userProperties = []string{"id", "name.familyName", "name.givenName", "userName", "active", "emails[0].value"}

func listAssertions() []assertion {
	return all(status(200), hasSchema(okta.SchemaListResponse), each("is_a_number", "itemsPerPage", "startIndex", "totalResults"))
}

func usersEndpoint(note, path string) step {
	var first []string
	for _, property := range userProperties {
		first = append(first, "Resources[0]."+property)
	}
	s := getStep(note, path, listAssertions(), each("not_empty", "Resources"), each("not_empty", first...))
	s.save = map[string]string{"ISVUserid": "Resources[0].id"}
	return s
}

func createStep(note string, code int, assertions ...any) step {
	return step{
		note: note, method: http.MethodPost, path: "/Users", headers: postHeaders, body: specUser,
		assertions: all(append([]any{status(code)}, assertions...)...),
	}
}

// generationC is the test of 2017, still the body of the current one.
func generationC() []step { return usersSteps(status(200), `userName eq "{{randomUsernameCaps}}"`) }

// usersSteps differ between generations in the check of letter case only.
func usersSteps(caseStatus assertion, caseFilter string) []step {
	created := createStep("Create Okta user with realistic values", 201,
		equal("active", "true"),
		each("not_empty", "id"),
		equal("name.familyName", "{{randomFamilyName}}"),
		equal("name.givenName", "{{randomGivenName}}"),
		assertion{"contains", "schemas", okta.SchemaUser},
		equal("userName", "{{randomUsername}}"),
	)
	created.save = map[string]string{"idUserOne": "id", "randomUserEmail": "emails[0].value"}
	return []step{
		usersEndpoint("Test Users endpoint", "/Users?count=1&startIndex=1"),
		getStep("Get Users by id", "/Users/{{ISVUserid}}",
			status(200), each("not_empty", userProperties...), equal("id", "{{ISVUserid}}")),
		getStep("Test invalid User by username", `/Users?filter=userName eq "{{InvalidUserEmail}}"`,
			status(200), hasSchema(okta.SchemaListResponse), equal("totalResults", "0")),
		getStep("Test invalid User by ID", "/Users/{{UserIdThatDoesNotExist}}",
			status(404), each("not_empty", "detail"), hasSchema(okta.SchemaError)),
		getStep("Make sure random user does not exist", `/Users?filter=userName eq "{{randomEmail}}"`,
			status(200), assertion{"equal_number", "totalResults", "0"}, hasSchema(okta.SchemaListResponse)),
		created,
		getStep("Verify that user was created", "/Users/{{idUserOne}}",
			status(200),
			equal("userName", "{{randomUsername}}"),
			equal("name.familyName", "{{randomFamilyName}}"),
			equal("name.givenName", "{{randomGivenName}}")),
		createStep("Expect failure when recreating user with same values", 409),
		getStep("Username Case Sensitivity Check", "/Users?filter="+caseFilter, caseStatus),
		getStep("Verify Groups endpoint", "/Groups", status(200), assertion{comparison: "groups_script"}),
	}
}

// sinceD is what the current test has on top.
func sinceD() []step {
	unauthorized := getStep("Check status 401", `/Users?filter=userName eq "{{randomUsernameCaps}}"`,
		status(401), each("not_empty", "detail"), equal("status", "401"), hasSchema(okta.SchemaError))
	unauthorized.headers = map[string]string{
		"Accept": "application/scim+json", "Accept-Charset": "utf-8", "Authorization": "non-token",
		"Content-Type": "application/scim+json; charset=utf-8", "User-Agent": "OKTA SCIM Integration",
	}
	return []step{
		unauthorized,
		getStep("Check status 404", "/Users/00919288221112222",
			status(404), each("not_empty", "detail"), equal("status", "404"), hasSchema(okta.SchemaError)),
	}
}

// generationB begins with discovery, and asks for a malformed filter to be refused where later ones check letter case.
// Its check of /Groups wanted one group at least; it is optional, and since generation C none is needed.
func generationB() []step {
	readOnly := func(path string) step {
		return step{
			note: "POST to " + path, method: http.MethodPost, path: path, headers: postHeaders, body: "test",
			assertions: all(status(405)),
		}
	}
	discovery := []step{
		getStep("ServiceProviderConfig", "/ServiceProviderConfig",
			status(200), each("not_empty", "schemas"), hasSchema("urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig"),
			each("not_empty", "patch", "bulk", "filter", "changePassword", "sort", "etag", "authenticationSchemes",
				"authenticationSchemes[0].type", "authenticationSchemes[0].description", "etag.supported", "sort.supported",
				"changePassword.supported", "filter.maxResults", "filter.supported", "bulk.supported", "bulk.maxOperations",
				"bulk.maxPayloadSize", "patch.supported")),
		readOnly("/ServiceProviderConfig"),
		getStep("ResourceTypes", "/ResourceTypes",
			status(200), each("not_empty", "Resources"), hasSchema(okta.SchemaListResponse),
			each("not_empty", "Resources[0].name", "Resources[0].endpoint", "Resources[0].schema")),
		readOnly("/ResourceTypes"),
		getStep("Schemas", "/Schemas",
			status(200), each("not_empty", "Resources"), hasSchema(okta.SchemaListResponse),
			each("not_empty", "Resources[0].id", "Resources[0].attributes")),
		readOnly("/Schemas"),
	}
	return slices.Concat(discovery, usersSteps(status(400), "{{randomUsernameCaps}}"))
}

// generationA ends with the deactivation of a template app. Its requests had the credential in a header that no server
// reads; here it is where it belongs.
func generationA() []step {
	scimHeaders := map[string]string{
		"Content-Type": "application/scim+json; charset=utf-8", "Authorization": "{{auth}}", "Accept": "application/scim+json",
		"Accept-Charset": "utf-8", "User-Agent": "OKTA SCIM Integration",
	}
	groups := getStep("Please wait while we verify your application", "/Groups?count=100&startIndex=1", listAssertions())
	// An empty property selects nothing, so nothing contains the word; it is kept because the suite has it.
	groups.assertions = append(groups.assertions, assertion{"does_not_contain", "", "Resources"})
	return []step{
		getStep("Test API Credentials", "/Users?count=2&startIndex=1", listAssertions(), each("not_empty", "Resources")),
		groups,
		getStep("User must not exist", `/Users?count=100&filter=userName eq "{{randomEmail}}"&startIndex=1`,
			status(200), hasSchema(okta.SchemaListResponse), assertion{"equal_number", "totalResults", "0"}),
		getStep("Unknown id", "/Users/{{UserIdThatDoesNotExist}}",
			status(404), each("not_empty", "detail"), hasSchema(okta.SchemaError)),
		{
			note: "Create user", method: http.MethodPost, path: "/Users", headers: scimHeaders,
			body: strings.TrimSuffix(specUser, "}") + `,"externalId":"00u1dhhb1fkIGP7RL1d8","groups":[]}`,
			assertions: all(status(201), equal("active", "true"), each("not_empty", "id"),
				equal("name.familyName", "{{randomFamilyName}}"), equal("name.givenName", "{{randomGivenName}}"),
				hasSchema(okta.SchemaUser), equal("userName", "{{randomUsername}}")),
			save: map[string]string{"idUserOne": "id"},
		},
		getStep("Read the user", "/Users/{{idUserOne}}",
			status(200), equal("userName", "{{randomUsername}}"),
			equal("name.familyName", "{{randomFamilyName}}"), equal("name.givenName", "{{randomGivenName}}")),
		{
			note: "Unassign user from app", method: http.MethodPatch, path: "/Users/{{idUserOne}}", headers: scimHeaders,
			body:       `{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[{"op":"replace","value":{"active":false}}]}`,
			assertions: all(status(200), equal("active", "false"), equal("id", "{{idUserOne}}")),
		},
	}
}
