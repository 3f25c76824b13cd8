package access

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

var noon = time.Date(2027, 1, 31, 12, 0, 0, 0, time.UTC)

func at(after time.Duration) *metav1.Time { return &metav1.Time{Time: noon.Add(after)} }

// endingApp has a default role and one with an end, in one scope.
func endingApp(change func(role *v1alpha1.Role, spec *v1alpha1.AppSpec)) *v1alpha1.App {
	app := &v1alpha1.App{ObjectMeta: metav1.ObjectMeta{Namespace: "directory", Name: "demo"}, Spec: v1alpha1.AppSpec{
		Attributes: []v1alpha1.CustomAttribute{
			{Name: "contractEnd", Schema: "urn:example:User", Type: "dateTime"},
			{Name: "shifts", Type: "dateTime", MultiValued: true},
			{Name: "note", Type: "string"},
			{Name: "title", Schema: "urn:example:User", Type: "dateTime"},
		},
		RoleAssignment: v1alpha1.RoleAssignment{FromAttributes: []string{"role"}, Default: []string{"viewer"}},
		Roles:          []v1alpha1.Role{{Name: "viewer"}, {Name: "admin", Groups: []string{"Admins"}}},
	}}
	if change != nil {
		change(&app.Spec.Roles[1], &app.Spec)
	}
	return app
}

func evaluateAt(t *testing.T, app *v1alpha1.App, attributes string, groups []Group, now time.Time) Decision {
	t.Helper()
	policy, failures := Compile(app)
	if len(failures) > 0 {
		t.Fatal(failures)
	}
	user := &v1alpha1.UserSpec{Attributes: &runtime.RawExtension{Raw: []byte(attributes)}}
	decision, err := policy.Evaluate(t.Context(), user, groups, now)
	if err != nil {
		t.Fatal(err)
	}
	return decision
}

// told is what a decision says, with ends as they are after noon.
func told(decision Decision) string {
	var texts []string
	for _, role := range decision.Roles {
		text := role.Role
		if role.Until != nil {
			text += " until " + role.Until.Sub(noon).String()
		}
		texts = append(texts, text)
	}
	for _, role := range decision.Ended {
		texts = append(texts, role.Role+" ended "+role.Until.Sub(noon).String())
	}
	for _, problem := range decision.Problems {
		texts = append(texts, problem.Reason+": "+problem.Message)
	}
	return strings.Join(texts, "; ")
}

func TestEnds(t *testing.T) {
	byAttribute := func(role *v1alpha1.Role, _ *v1alpha1.AppSpec) { role.UntilAttribute = "contractEnd" }
	optional := func(role *v1alpha1.Role, _ *v1alpha1.AppSpec) {
		role.UntilAttribute, role.UntilOptional = "contractEnd", true
	}
	both := func(role *v1alpha1.Role, _ *v1alpha1.AppSpec) {
		role.Until, role.UntilAttribute, role.UntilOptional = at(time.Hour), "contractEnd", true
	}
	forAll := func(after time.Duration) func(*v1alpha1.Role, *v1alpha1.AppSpec) {
		return func(role *v1alpha1.Role, _ *v1alpha1.AppSpec) { role.Until = at(after) }
	}
	const refused = "RoleNotGranted: role admin is not granted: "
	for title, test := range map[string]struct {
		change     func(*v1alpha1.Role, *v1alpha1.AppSpec)
		attributes string
		want       string
	}{
		"no end":                    {nil, `{"role":"admin"}`, "admin"},
		"for all, later":            {forAll(time.Second), `{"role":"admin"}`, "admin until 1s"},
		"for all, on the second":    {forAll(0), `{"role":"admin"}`, "viewer; admin ended 0s"},
		"for all, within a second":  {forAll(900 * time.Millisecond), `{"role":"admin"}`, "viewer; admin ended 0s"},
		"of a role not earned":      {forAll(0), `{}`, "viewer"},
		"by the attribute":          {byAttribute, `{"role":"admin","contractEnd":"2027-01-31T12:00:01Z"}`, "admin until 1s"},
		"in another case":           {byAttribute, `{"role":"admin","CONTRACTEND":"2027-01-31T12:00:01Z"}`, "admin until 1s"},
		"in another zone":           {byAttribute, `{"role":"admin","contractEnd":"2027-01-31T14:00:00+01:00"}`, "admin until 1h0m0s"},
		"without a zone":            {byAttribute, `{"role":"admin","contractEnd":"2027-01-31T13:00:00"}`, "admin until 1h0m0s"},
		"the beginning of a day":    {byAttribute, `{"role":"admin","contractEnd":"2027-02-01"}`, "admin until 12h0m0s"},
		"of that very day":          {byAttribute, `{"role":"admin","contractEnd":"2027-01-31"}`, "viewer; admin ended -12h0m0s"},
		"in an array of one":        {byAttribute, `{"role":"admin","contractEnd":["2027-02-01"]}`, "admin until 12h0m0s"},
		"long ago":                  {byAttribute, `{"role":"admin","contractEnd":"0001-01-01T00:00:00Z"}`, "viewer; admin ended -2562047h47m16.854775808s"},
		"absent":                    {byAttribute, `{"role":"admin"}`, refused + "the user has no contractEnd, which says when the role ends"},
		"empty":                     {byAttribute, `{"role":"admin","contractEnd":""}`, refused + "the user has no contractEnd, which says when the role ends"},
		"blank":                     {optional, `{"role":"admin","contractEnd":" "}`, refused + `attribute contractEnd is " ", and not a time such as 2027-02-01T00:00:00Z`},
		"no time":                   {optional, `{"role":"admin","contractEnd":"next summer"}`, refused + `attribute contractEnd is "next summer", and not a time such as 2027-02-01T00:00:00Z`},
		"a number":                  {optional, `{"role":"admin","contractEnd":1798761600}`, refused + `attribute contractEnd is "1798761600", and not a time such as 2027-02-01T00:00:00Z`},
		"an object":                 {optional, `{"role":"admin","contractEnd":{"at":"2027-02-01"}}`, refused + "attribute contractEnd holds no text that could be a time"},
		"two":                       {optional, `{"role":"admin","contractEnd":["2027-02-01","2028-02-01"]}`, refused + "attribute contractEnd has 2 values, and a role has one end"},
		"too long to be told":       {optional, `{"role":"admin","contractEnd":"` + strings.Repeat("x", 5000) + `"}`, refused + `attribute contractEnd is "` + strings.Repeat("x", 128) + `…", and not a time such as 2027-02-01T00:00:00Z`},
		"optional and absent":       {optional, `{"role":"admin"}`, "admin"},
		"optional and over":         {optional, `{"role":"admin","contractEnd":"2027-01-31T12:00:00Z"}`, "viewer; admin ended 0s"},
		"both, the attribute first": {both, `{"role":"admin","contractEnd":"2027-01-31T12:00:01Z"}`, "admin until 1s"},
		"both, the rule first":      {both, `{"role":"admin","contractEnd":"2028-01-31T12:00:01Z"}`, "admin until 1h0m0s"},
		"both, and absent":          {both, `{"role":"admin"}`, "admin until 1h0m0s"},
		"a default that has ended": {func(_ *v1alpha1.Role, spec *v1alpha1.AppSpec) { spec.Roles[0].Until = at(0) },
			`{}`, "viewer ended 0s"},
		"a default that is named, and has ended": {func(_ *v1alpha1.Role, spec *v1alpha1.AppSpec) { spec.Roles[0].Until = at(0) },
			`{"role":"viewer"}`, "viewer ended 0s"},
		"a default with an unknown end": {func(_ *v1alpha1.Role, spec *v1alpha1.AppSpec) { spec.Roles[0].UntilAttribute = "contractEnd" },
			`{}`, "RoleNotGranted: role viewer is not granted: the user has no contractEnd, which says when the role ends"},
	} {
		t.Run(title, func(t *testing.T) {
			if got := told(evaluateAt(t, endingApp(test.change), test.attributes, nil, noon)); got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
		})
	}
}

// What is earned before the end is not after it, and nothing else about the decision depends on the time.
func TestEndIsSharp(t *testing.T) {
	app := endingApp(func(role *v1alpha1.Role, _ *v1alpha1.AppSpec) { role.UntilAttribute = "contractEnd" })
	for _, now := range []time.Time{noon.Add(-time.Nanosecond), noon, noon.In(time.FixedZone("east", 9*3600)), noon.Add(1000 * time.Hour)} {
		decision := evaluateAt(t, app, `{"role":"admin","contractEnd":"2027-01-31T12:00:00Z"}`, nil, now)
		want := "viewer; admin ended 0s"
		if now.Before(noon) {
			want = "admin until 0s"
		}
		if got := told(decision); got != want {
			t.Errorf("at %s: %s, want %s", now, got, want)
		}
	}
}

func TestEndAttributeMustBeDeclared(t *testing.T) {
	for attribute, want := range map[string]bool{
		"contractEnd": true, "CONTRACTend": true, "urn:example:User:contractEnd": true, "urn:other:contractEnd": false,
		"ContractStart": false, "shifts": false, "note": false, "userName": false, "title": false, "urn:example:User:title": true,
	} {
		_, failures := Compile(endingApp(func(role *v1alpha1.Role, _ *v1alpha1.AppSpec) { role.UntilAttribute = attribute }))
		if sound := len(failures) == 0; sound != want {
			t.Errorf("%s: %v", attribute, failures)
		}
		for _, failure := range failures {
			if failure.Field != "spec.roles[1].untilAttribute" {
				t.Errorf("%s: %v", attribute, failure)
			}
		}
	}
	_, failures := Compile(endingApp(func(role *v1alpha1.Role, _ *v1alpha1.AppSpec) { role.UntilOptional = true }))
	if len(failures) != 1 || failures[0].Field != "spec.roles[1].untilOptional" {
		t.Errorf("untilOptional alone: %v", failures)
	}
}

// A group that stays bound for one member would go on giving the role to members that it has ended for.
func TestEndsOfMembersAreBoundByName(t *testing.T) {
	group := []Group{pushed("Admins", "")}
	for title, test := range map[string]struct {
		change func(*v1alpha1.Role, *v1alpha1.AppSpec)
		group  string
	}{
		"an end for all":  {func(role *v1alpha1.Role, _ *v1alpha1.AppSpec) { role.Until = at(time.Hour) }, "okta:Admins"},
		"an end for each": {func(role *v1alpha1.Role, _ *v1alpha1.AppSpec) { role.UntilAttribute = "contractEnd" }, ""},
		"an end for some": {func(role *v1alpha1.Role, _ *v1alpha1.AppSpec) {
			role.UntilAttribute, role.UntilOptional = "contractEnd", true
		}, ""},
		"no end of any kind": {func(*v1alpha1.Role, *v1alpha1.AppSpec) {}, "okta:Admins"},
	} {
		app := endingApp(test.change)
		app.Spec.SubjectMode = v1alpha1.SubjectModeGroup
		decision := evaluateAt(t, app, `{"contractEnd":"2027-02-01"}`, group, noon)
		if len(decision.Roles) != 1 || decision.Groups["admin"] != test.group || ByGroup(decision.Roles[0]) != (test.group != "") {
			t.Errorf("%s: %+v", title, decision)
		}
		if kinds := ReasonKinds(decision.Roles[0].Reasons); !slices.Equal(kinds, []string{"member of a group"}) {
			t.Errorf("%s: reasons in the log %q", title, kinds)
		}
	}
}

func TestNextEnd(t *testing.T) {
	day := 24 * time.Hour
	for title, test := range map[string]struct {
		ends []time.Duration
		want time.Duration
		soon int
	}{
		"none":                 {nil, 0, 0},
		"over":                 {[]time.Duration{0, -day}, 0, 2},
		"soon":                 {[]time.Duration{day}, day, 1},
		"notice begins now":    {[]time.Duration{7 * day}, 7 * day, 1},
		"notice is to come":    {[]time.Duration{7*day + time.Second}, time.Second, 0},
		"the first of several": {[]time.Duration{30 * day, 9 * day, 3 * day, -day}, 2 * day, 2},
	} {
		roles := []v1alpha1.EarnedRole{{Role: "endless"}}
		for i, after := range test.ends {
			roles = append(roles, v1alpha1.EarnedRole{Role: fmt.Sprint(i), Until: at(after)})
		}
		next, found := NextEnd(roles, noon)
		if found != (test.want != 0) || found && next.Sub(noon) != test.want {
			t.Errorf("%s: next %s %v, want %s", title, next.Sub(noon), found, test.want)
		}
		if soon := EndingSoon(roles, noon); len(soon) != test.soon {
			t.Errorf("%s: ending soon %v, want %d", title, soon, test.soon)
		}
	}
}
