package okta_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	okta "github.com/scim-operator/scim-operator/test/okta/client"
	"github.com/scim-operator/scim-operator/test/okta/harness"
)

const (
	// ownNamespace is the external namespace that the guide has people type: without :User.
	ownNamespace = "urn:ietf:params:scim:schemas:core:2.0"
	readOnly     = "Read-only"
	ownAdmin     = "Administrator"
)

func ownRegions(regions string) okta.Object {
	return okta.ObjectOf(ownNamespace, okta.ObjectOf("regions", regions))
}

// own is the guide under way.
type own struct {
	*guide
	okta *okta.Client
	app  harness.App
}

// The guide of Own, in both of Okta's dialects: people are created and deactivated, and nothing else.
func TestGuideOwn(t *testing.T) {
	eachDialect(t, func(t *testing.T, dialect okta.Dialect) {
		g := follow(t, guide{
			name: "own", namespaces: []string{"own-us1", "own-emea2"},
			rungs: []rung{{readOnly, "list", "configmaps"}, {ownAdmin, "create", "pods"}},
		})
		o := &own{guide: g, app: g.open(t, "own", "own", "okta")}
		// The template's API token is sent as it was typed, without a scheme.
		o.okta = g.client(o.app, "/scim/v2", dialect)
		o.okta.Authorization = o.app.Token
		t.Run("test the connection", func(t *testing.T) { say(t)(o.okta.TestConnection(t.Context(), true)) })
		t.Run("assign to all regions", o.everyRegion)
		t.Run("assign to regions", o.someRegions)
		t.Run("profile pushes change nothing", o.pushes)
		t.Run("a role given in the cluster", o.roleInTheApp)
		t.Run("a role given to one user", o.roleOfTheUser)
		t.Run("another region", o.anotherRegion)
		t.Run("created again", o.createdAgain)
		t.Run("the business unit renamed", o.unitRenamed)
		t.Run("push groups", o.groups)
	})
}

// assign provisions a person, in regions where it is not "".
func (o *own) assign(t *testing.T, first, regions string) (*okta.Assignment, string) {
	t.Helper()
	profile := okta.NewProfile(newName(t, first))
	if regions != "" {
		profile.Custom = ownRegions(regions)
	}
	person := okta.Assign(profile)
	say(t)(o.okta.AssignUser(t.Context(), person))
	return person, o.app.Subject(profile.UserName)
}

func (o *own) everyRegion(t *testing.T) {
	person, subject := o.assign(t, "everywhere", "")
	o.has(t, subject, o.everywhere(readOnly))
	o.shows(t, "users", "own", person.ID, harness.Row{"ACTIVE": "true", "ROLES": readOnly, "GRANTED": "True"})
	say(t)(o.okta.Deactivate(t.Context(), person))
	o.hasNow(t, subject, access{})
	o.shows(t, "users", "own", person.ID, harness.Row{"ACTIVE": "false", "ROLES": "", "REVOKED": "True"})
	say(t)(o.okta.Reactivate(t.Context(), person))
	o.has(t, subject, o.everywhere(readOnly))
}

func (o *own) someRegions(t *testing.T) {
	for _, test := range []struct {
		regions string
		want    access
	}{
		{"us1", access{"own-us1": readOnly}},
		{"us1,emea2", o.everywhere(readOnly)},
		{" emea2 ,,emea2", access{"own-emea2": readOnly}},
		{",", access{}}, // a value that names no scope is not the absence of one
	} {
		_, subject := o.assign(t, "regional", test.regions)
		o.has(t, subject, test.want)
	}
	profile := okta.NewProfile(newName(t, "astray"))
	profile.Custom = ownRegions("us1,US1")
	person := okta.Assign(profile)
	conversation, err := o.okta.AssignUser(t.Context(), person)
	refused(t, givenUp(t, conversation, err), http.StatusBadRequest, "invalidValue",
		"regions names a scope that the App own does not have. It has: us1, emea2. Letters and case count.")
	person.Profile.Custom = ownRegions("us1")
	say(t)(o.okta.AssignUser(t.Context(), person))
}

// A push is answered 200, or Okta would forget the person; nothing changes, the version neither.
func (o *own) pushes(t *testing.T) {
	person, subject := o.assign(t, "steady", "us1")
	o.has(t, subject, access{"own-us1": readOnly})
	before := get(t, o.okta, person.ID)
	for _, changed := range []string{
		`"userName":"someone.else@example.com"`, `"name":{"givenName":"Other","familyName":"Name"}`, `"title":"Boss"`,
		`"` + ownNamespace + `":{"regions":"emea2"}`, `"regions":"mars"`, `"roles":[{"value":"Administrator"}]`, `"role":"Administrator"`,
	} {
		body := userJSON(person.Profile.UserName, ","+changed)
		if strings.HasPrefix(changed, `"userName"`) {
			body = userJSON("someone.else@example.com", "")
		}
		must(t, do(t, o.okta, http.MethodPut, "/Users/"+person.ID, body).ExpectUser())
		patch(t, o.okta, person.ID, `{"op":"replace","value":{`+changed+`,"active":true}}`)
		if after := get(t, o.okta, person.ID); string(after.Body) != string(before.Body) {
			t.Errorf("%s changed the user from\n%s\nto\n%s", changed, before.Body, after.Body)
		}
	}
	o.hasNow(t, subject, access{"own-us1": readOnly})
	say(t)(o.okta.Deactivate(t.Context(), person))
	o.hasNow(t, subject, access{})
}

// when names the administrators in the App.
func (o *own) when(t *testing.T, userNames ...string) {
	t.Helper()
	quotedNames := []string{}
	for _, name := range userNames {
		quotedNames = append(quotedNames, quoted(name))
	}
	o.kubectl(t, "--namespace", "own", "patch", "app", "own", "--type=json", "--patch", fmt.Sprintf(
		`[{"op":"test","path":"/spec/roles/1/name","value":"Administrator"},{"op":"replace","path":"/spec/roles/1/when","value":%s}]`,
		quoted("user.userName in ["+strings.Join(quotedNames, ", ")+"]")))
}

// The App's expression makes a person an administrator. Okta's pushes do not know of it, and its deactivation ends it.
func (o *own) roleInTheApp(t *testing.T) {
	person, subject := o.assign(t, "promoted", "us1")
	o.has(t, subject, access{"own-us1": readOnly})
	o.when(t, person.Profile.UserName)
	o.has(t, subject, access{"own-us1": ownAdmin})
	o.shows(t, "users", "own", person.ID, harness.Row{"ROLES": ownAdmin, "GRANTED": "True"})
	person.Profile.FamilyName = "Married"
	conversation, _ := o.okta.PushProfile(t.Context(), person) // the answer is no error, though it has the former name
	must(t, conversation.Last().ExpectUser())
	person.Profile.FamilyName = conversation.Last().Text("name", "familyName")
	o.hasNow(t, subject, access{"own-us1": ownAdmin})
	say(t)(o.okta.Deactivate(t.Context(), person))
	o.hasNow(t, subject, access{})
	patch(t, o.okta, person.ID, `{"op":"replace","value":{"active":true}}`)
	o.has(t, subject, access{"own-us1": ownAdmin})
	o.when(t)
	o.has(t, subject, access{"own-us1": readOnly})
}

// Where the App reads roles from an attribute, an administrator of the cluster can set that of one user. Pushes and a new
// assignment leave it.
func (o *own) roleOfTheUser(t *testing.T) {
	o.kubectl(t, "--namespace", "own", "patch", "app", "own", "--type=merge", "--patch", `{"spec":{"roleAssignment":{"fromAttributes":["roles"]}}}`)
	person, subject := o.assign(t, "chosen", "us1")
	o.has(t, subject, access{"own-us1": readOnly})
	o.kubectl(t, "--namespace", "own", "patch", "users.scim-operator.io", person.ID, "--type=merge", "--patch", `{"spec":{"roles":[{"value":"Administrator"}]}}`)
	o.has(t, subject, access{"own-us1": ownAdmin})
	for range 2 {
		must(t, do(t, o.okta, http.MethodPut, "/Users/"+person.ID, userJSON(person.Profile.UserName, `,"roles":[{"value":"Read-only"}]`)).ExpectUser())
		patch(t, o.okta, person.ID, `{"op":"replace","value":{"roles":[{"value":"Read-only"}]}}`, `{"op":"remove","path":"roles"}`)
		o.hasNow(t, subject, access{"own-us1": ownAdmin})
	}
	say(t)(o.okta.Deactivate(t.Context(), person))
	o.hasNow(t, subject, access{})
	say(t)(o.okta.Create(t.Context(), person))
	o.has(t, subject, access{"own-us1": ownAdmin})
	o.kubectl(t, "--namespace", "own", "patch", "app", "own", "--type=merge", "--patch", `{"spec":{"roleAssignment":{"fromAttributes":[]}}}`)
	o.has(t, subject, access{"own-us1": readOnly})
}

// A person that moves is unassigned and assigned again: regions are read then, whatever else is not updated, also from the
// push that follows the reactivation. Later pushes are not.
func (o *own) anotherRegion(t *testing.T) {
	person, subject := o.assign(t, "moved", "us1")
	o.has(t, subject, access{"own-us1": readOnly})
	for _, move := range []struct {
		regions string
		want    access
	}{{"emea2", access{"own-emea2": readOnly}}, {"us1,emea2", o.everywhere(readOnly)}, {"us1", access{"own-us1": readOnly}}} {
		say(t)(o.okta.Deactivate(t.Context(), person))
		o.hasNow(t, subject, access{})
		person.Profile.Custom = ownRegions(move.regions)
		if answer := say(t)(o.okta.Reactivate(t.Context(), person)); answer.At(ownNamespace, "regions") != move.regions {
			t.Errorf("regions is %v, want %s\n%s", answer.At(ownNamespace, "regions"), move.regions, answer)
		}
		o.has(t, subject, move.want)
	}
	long := time.Now().Add(-2 * time.Hour).UTC().Format("2006-01-02T15:04:05.000000Z")
	o.kubectl(t, "--namespace", "own", "patch", "users.scim-operator.io", person.ID, "--type=merge", "--patch", `{"spec":{"reactivatedAt":"`+long+`"}}`)
	person.Profile.Custom = ownRegions("emea2")
	if answer := say(t)(o.okta.PushProfile(t.Context(), person)); answer.At(ownNamespace, "regions") != "us1" {
		t.Errorf("a push two hours later changed the regions\n%s", answer)
	}
	// A region that is unknown never fails an update: it grants nothing and shows.
	say(t)(o.okta.Deactivate(t.Context(), person))
	person.Profile.Custom = ownRegions("mars")
	say(t)(o.okta.Reactivate(t.Context(), person))
	o.tells(t, "users.scim-operator.io", "own", person.ID, "Ready", "MissingScope")
	o.has(t, subject, access{})
}

// A person that Okta creates again keeps the id, and brings a profile along.
func (o *own) createdAgain(t *testing.T) {
	person, subject := o.assign(t, "returning", "us1")
	o.has(t, subject, access{"own-us1": readOnly})
	before := person.ID
	say(t)(o.okta.Deactivate(t.Context(), person))
	person.Profile.Custom, person.Profile.FamilyName = ownRegions("emea2"), "Newname"
	say(t)(o.okta.Create(t.Context(), person))
	if person.ID != before {
		t.Errorf("the id is %s, want %s as before", person.ID, before)
	}
	o.has(t, subject, access{"own-emea2": readOnly})
}

// The business unit must have its very name. Without it no new user gets in, and both sides are told; present users keep
// what is left, and all heals when the name is back.
func (o *own) unitRenamed(t *testing.T) {
	here, subject := o.assign(t, "settled", "")
	o.has(t, subject, o.everywhere(readOnly))
	for _, renamed := range []string{"own/business-unit=default_business_unit", "own/business-unit=Main", "own/business-unit-"} {
		o.kubectl(t, "label", "namespace", "own-emea2", renamed, "--overwrite")
		o.tells(t, "apps", "own", "own", "ScopesFound", "False MissingScope")
		o.has(t, subject, access{"own-us1": readOnly})
		// The server learns it from the App's status a moment later: until then it would take the person.
		var answer *okta.Exchange
		for attempts := 0; ; attempts++ {
			person := okta.Assign(okta.NewProfile(newName(t, "locked.out")))
			conversation, err := o.okta.AssignUser(t.Context(), person)
			if err != nil || attempts == 20 {
				answer = givenUp(t, conversation, err)
				break
			}
		}
		refused(t, answer, http.StatusBadRequest, "invalidValue", "the scope emea2 (Default Business Unit in emea2), which is missing from the cluster")
		// A person that needs only what is there gets in, and no link breaks.
		_, regional := o.assign(t, "unaffected", "us1")
		o.has(t, regional, access{"own-us1": readOnly})
		say(t)(o.okta.PushProfile(t.Context(), here))
		say(t)(o.okta.Deactivate(t.Context(), here))
		o.hasNow(t, subject, access{})
		say(t)(o.okta.Reactivate(t.Context(), here))

		o.kubectl(t, "label", "namespace", "own-emea2", "own/business-unit=Default_Business_Unit", "--overwrite")
		o.tells(t, "apps", "own", "own", "ScopesFound", "True ScopesFound")
		o.has(t, subject, o.everywhere(readOnly))
		newcomer := okta.Assign(okta.NewProfile(newName(t, "let.in")))
		patiently(t, "the creation of a user", func(ctx context.Context) error {
			_, err := o.okta.AssignUser(ctx, newcomer)
			return err
		})
		o.has(t, o.app.Subject(newcomer.Profile.UserName), o.everywhere(readOnly))
	}
}

func (o *own) groups(t *testing.T) {
	for method, target := range map[string]string{
		http.MethodPost: "/Groups", http.MethodPut: "/Groups/some", http.MethodPatch: "/Groups/some", http.MethodDelete: "/Groups/some",
	} {
		body := ""
		if method != http.MethodDelete {
			body = groupJSON("Everybody", "")
		}
		refused(t, do(t, o.okta, method, target, body), http.StatusNotImplemented, "", "The App own does not take this action: spec.provisioning.pushGroups is false.")
	}
	for _, query := range []string{"?startIndex=1&count=100", okta.FilterQuery(okta.Equals("displayName", "Everybody"))} {
		list := do(t, o.okta, http.MethodGet, "/Groups"+query, "")
		must(t, list.ExpectList())
		if list.Number("totalResults") != 0 {
			t.Errorf("want no groups\n%s", list)
		}
	}
}
