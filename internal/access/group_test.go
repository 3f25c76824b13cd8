package access

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/runtime"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/names"
)

func pushed(displayName, externalID string) Group {
	return Group{DisplayName: displayName, Key: names.Fold(displayName), ExternalID: externalID}
}

func TestEvaluateGroups(t *testing.T) {
	empty := ""
	groupMode := func(spec *v1alpha1.AppSpec) {
		spec.SubjectMode = v1alpha1.SubjectModeGroup
		spec.Roles[1].Groups = []string{"Platform Admins", "00g1"}
	}
	byGroup := func(spec *v1alpha1.AppSpec) { spec.Roles[1].Groups = []string{"Platform Admins", "00g1"} }
	byExpression := func(spec *v1alpha1.AppSpec) {
		spec.Roles[1].When = `user.department == "Platform" && "admins" in groups`
	}
	platform := v1alpha1.UserSpec{Enterprise: &v1alpha1.EnterpriseUser{Department: "Platform"}}
	for name, test := range map[string]struct {
		app      func(*v1alpha1.AppSpec)
		user     v1alpha1.UserSpec
		groups   []Group
		roles    []string
		subjects map[string]string
		problems []string
	}{
		"by display name": {
			app: byGroup, groups: []Group{pushed("Platform Admins", "")},
			roles: []string{`admin: member of group "Platform Admins"`},
		},
		"by display name in another case": {
			app: byGroup, groups: []Group{pushed("PLATFORM admins", "")},
			roles: []string{`admin: member of group "PLATFORM admins"`},
		},
		"by external id": {
			app: byGroup, groups: []Group{pushed("Anything", "00g1")},
			roles: []string{`admin: member of group "Anything"`},
		},
		"an external id in another case is another one": {
			app: byGroup, groups: []Group{pushed("Anything", "00G1")},
			roles: []string{"viewer: default role of the App"},
		},
		"a group of no role": {
			app: byGroup, groups: []Group{pushed("Staff", "00g2")},
			roles: []string{"viewer: default role of the App"},
		},
		"a group without an external id is not the empty name": {
			app:    func(spec *v1alpha1.AppSpec) { spec.Roles[1].Groups = []string{""} },
			groups: []Group{pushed("Staff", "")},
			roles:  []string{"viewer: default role of the App"},
		},
		"every reason is named, in order": {
			app: byGroup, groups: []Group{pushed("Zeta", "00g1"), pushed("Platform Admins", "")},
			user:  v1alpha1.UserSpec{Attributes: &runtime.RawExtension{Raw: []byte(`{"role":"admin"}`)}},
			roles: []string{`admin: attribute role is "admin", member of group "Platform Admins", member of group "Zeta"`},
		},
		"expression": {
			app: byExpression, user: platform, groups: []Group{pushed("admins", "")},
			roles: []string{"admin: expression of role admin"},
		},
		"expression, not in the group": {
			app: byExpression, user: platform, groups: []Group{pushed("others", "")},
			roles: []string{"viewer: default role of the App"},
		},
		"expression, another department": {
			app: byExpression, groups: []Group{pushed("admins", "")},
			roles: []string{"viewer: default role of the App"},
		},
		"expression about those in no group": {
			app:   func(spec *v1alpha1.AppSpec) { spec.Roles[1].When = `groups.size() == 0` },
			roles: []string{"admin: expression of role admin"},
		},
		"bound by the group": {
			app: groupMode, groups: []Group{pushed("Zeta", "00g1"), pushed("Platform Admins", "")},
			roles:    []string{`admin: member of group "Platform Admins", member of group "Zeta"`},
			subjects: map[string]string{"admin": "okta:Platform Admins"},
		},
		"earned otherwise is bound by the person": {
			app:   groupMode,
			roles: []string{"viewer: default role of the App"},
		},
		"a reserved group name": {
			app: func(spec *v1alpha1.AppSpec) {
				groupMode(spec)
				spec.Kubernetes.GroupPrefix = &empty
				spec.Roles[0].Groups = []string{"staff"}
			},
			groups:   []Group{pushed("system:masters", "00g1"), pushed("Staff", "")},
			roles:    []string{`viewer: member of group "Staff"`},
			subjects: map[string]string{"viewer": "Staff"},
			problems: []string{`InvalidSubject: the group "system:masters" makes a Kubernetes group name that begins with system:`},
		},
	} {
		t.Run(name, func(t *testing.T) {
			app := testApp()
			app.Spec.Scopes = v1alpha1.Scopes{}
			test.app(&app.Spec)
			policy, errors := Compile(app)
			if len(errors) > 0 {
				t.Fatal(errors)
			}
			decision, err := policy.Evaluate(t.Context(), &test.user, test.groups, noon)
			if err != nil {
				t.Fatal(err)
			}
			var roles []string
			for _, role := range decision.Roles {
				roles = append(roles, fmt.Sprintf("%s: %s", role.Role, strings.Join(role.Reasons, ", ")))
			}
			if !slices.Equal(roles, test.roles) {
				t.Errorf("roles = %q, want %q", roles, test.roles)
			}
			if !maps.Equal(decision.Groups, test.subjects) {
				t.Errorf("groups = %q, want %q", decision.Groups, test.subjects)
			}
			if len(decision.Problems) != len(test.problems) {
				t.Fatalf("problems = %v, want %q", decision.Problems, test.problems)
			}
			for i, problem := range decision.Problems {
				if got := problem.Reason + ": " + problem.Message; !strings.HasPrefix(got, test.problems[i]) {
					t.Errorf("problem %q, want %q…", got, test.problems[i])
				}
			}
		})
	}
}

func TestConcerns(t *testing.T) {
	app := testApp()
	app.Spec.Roles[0].Groups = []string{"staff", "00g1"}
	app.Spec.Roles[1].Groups = []string{"STAFF"}
	policy, errors := Compile(app)
	if len(errors) > 0 {
		t.Fatal(errors)
	}
	if roles := policy.ConferredBy(pushed("Staff", "x")); !slices.Equal(roles, []string{"admin", "viewer"}) {
		t.Errorf("Staff confers %v", roles)
	}
	if roles := policy.ConferredBy(pushed("x", "00g1")); !slices.Equal(roles, []string{"viewer"}) {
		t.Errorf("00g1 confers %v", roles)
	}
	if !policy.UsesGroups() || !policy.Concerns(pushed("Staff", "")) || policy.Concerns(pushed("others", "")) {
		t.Error("by roles: the wrong groups are of concern")
	}
	app.Spec.Roles[1].When = `user.active`
	if policy, _ := Compile(app); policy.Concerns(pushed("others", "")) {
		t.Error("an expression over the user makes every group of concern")
	}
	app.Spec.Roles[1].When = `user.roles.exists(r, r.value in groups)`
	if policy, _ := Compile(app); !policy.Concerns(pushed("others", "")) {
		t.Error("an expression over groups does not make every group of concern")
	}
	if policy, _ := Compile(testApp()); policy.UsesGroups() {
		t.Error("an App without groups uses groups")
	}
}

func TestReasonKindsHoldNoValues(t *testing.T) {
	got := ReasonKinds([]string{
		`attribute department is "secret"`, `attribute urn:x:1.1:User:costCentre has "secret"`, `attribute department is "other secret"`,
		`member of group "secret is \"of\" a kind"`, "expression of role viewer", "default role of the App",
	})
	want := []string{"attribute department", "attribute urn:x:1.1:User:costCentre", "member of a group", "expression of role viewer", "default role of the App"}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
