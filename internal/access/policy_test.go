package access

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/runtime"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

func TestEvaluate(t *testing.T) {
	custom := func(object string) *runtime.RawExtension { return &runtime.RawExtension{Raw: []byte(object)} }
	allScopes := func(role, reason string) []string {
		return []string{role + "@emea2: " + reason, role + "@everywhere: " + reason, role + "@us1: " + reason}
	}
	for name, test := range map[string]struct {
		app      func(*v1alpha1.AppSpec)
		user     v1alpha1.UserSpec
		roles    []string
		problems []string
	}{
		"default": {roles: allScopes("viewer", "default role of the App")},
		"role attribute": {
			user:  v1alpha1.UserSpec{Attributes: custom(`{"role":"admin"}`)},
			roles: allScopes("admin", `attribute role is "admin"`),
		},
		"role attribute in another case": {
			user:  v1alpha1.UserSpec{Attributes: custom(`{"Role":"admin"}`)},
			roles: allScopes("admin", `attribute role is "admin"`),
		},
		"role value in another case is another role": {
			user:     v1alpha1.UserSpec{Attributes: custom(`{"role":"Admin"}`)},
			roles:    allScopes("viewer", "default role of the App"),
			problems: []string{`UnknownRole: attribute role is "Admin", which is no role of the App`},
		},
		"empty role is absent": {
			user:  v1alpha1.UserSpec{Attributes: custom(`{"role":"","regions":""}`), Roles: []v1alpha1.MultiValue{{Primary: true}}},
			roles: allScopes("viewer", "default role of the App"),
		},
		"roles and entitlements": {
			user: v1alpha1.UserSpec{
				Attributes:   custom(`{"regions":"us1"}`),
				Roles:        []v1alpha1.MultiValue{{Value: "admin"}, {Value: "admin", Type: "x"}},
				Entitlements: []v1alpha1.MultiValue{{Value: "viewer"}, {Value: "admin"}},
			},
			roles: []string{
				`admin@us1: attribute roles has "admin", attribute entitlements has "admin"`,
				`viewer@us1: attribute entitlements has "viewer"`,
			},
		},
		"role in an extension": {
			user:  v1alpha1.UserSpec{Extensions: custom(`{"urn:x:custom:2.0:User":{"role":["admin"],"regions":["us1"]}}`)},
			roles: []string{`admin@us1: attribute role has "admin"`},
		},
		"attribute by URN": {
			app:   func(spec *v1alpha1.AppSpec) { spec.RoleAssignment.FromAttributes = []string{"urn:x:b:role"} },
			user:  v1alpha1.UserSpec{Extensions: custom(`{"urn:x:a":{"role":"viewer"},"URN:X:b":{"role":"admin"}}`)},
			roles: allScopes("admin", `attribute urn:x:b:role is "admin"`),
		},
		"complex values": {
			user:  v1alpha1.UserSpec{Attributes: custom(`{"role":[{"value":"admin","primary":true}],"regions":[{"value":"us1"}]}`)},
			roles: []string{`admin@us1: attribute role has "admin"`},
		},
		"enterprise attribute by name": {
			app:   func(spec *v1alpha1.AppSpec) { spec.RoleAssignment.FromAttributes = []string{"department"} },
			user:  v1alpha1.UserSpec{Attributes: custom(`{"regions":"us1"}`), Enterprise: &v1alpha1.EnterpriseUser{Department: "admin"}},
			roles: []string{`admin@us1: attribute department is "admin"`},
		},
		"expression over the enterprise extension": {
			app:   func(spec *v1alpha1.AppSpec) { spec.Roles[1].When = `user.department == "Platform" && user.active` },
			user:  v1alpha1.UserSpec{Active: true, Enterprise: &v1alpha1.EnterpriseUser{Department: "Platform"}},
			roles: allScopes("admin", "expression of role admin"),
		},
		"expression over an absent attribute is false, negated too": {
			app:   func(spec *v1alpha1.AppSpec) { spec.Roles[1].When = `user.department != "Contractors"` },
			roles: allScopes("viewer", "default role of the App"),
		},
		"expression over custom attributes and emails": {
			app: func(spec *v1alpha1.AppSpec) {
				spec.Roles[1].When = `user.level >= 3 && user.emails.exists(e, e.value.endsWith("@example.com"))`
			},
			user: v1alpha1.UserSpec{
				Attributes: custom(`{"level":3,"regions":"us1"}`), Emails: []v1alpha1.MultiValue{{Value: "jane@example.com"}},
			},
			roles: []string{"admin@us1: expression of role admin"},
		},
		"expression does not see this operator's own fields": {
			app: func(spec *v1alpha1.AppSpec) {
				spec.Roles[1].When = `has(user.userNameKey) || has(user.app) || has(user.suspended)`
			},
			user:  v1alpha1.UserSpec{App: "demo", UserNameKey: "jane", Suspended: true},
			roles: allScopes("viewer", "default role of the App"),
		},
		"expression that compares what cannot be compared": {
			app:      func(spec *v1alpha1.AppSpec) { spec.Roles[1].When = `user.role < 3` },
			user:     v1alpha1.UserSpec{Attributes: custom(`{"role":"viewer","regions":"us1"}`)},
			roles:    []string{`viewer@us1: attribute role is "viewer"`},
			problems: []string{"ExpressionFailed: expression of role admin: no such overload"},
		},
		"no default role where an expression failed": {
			app:      func(spec *v1alpha1.AppSpec) { spec.Roles[1].When = `user.level < "x"` },
			user:     v1alpha1.UserSpec{Attributes: custom(`{"level":1,"regions":"us1"}`)},
			problems: []string{"ExpressionFailed: expression of role admin: no such overload"},
		},
		"scopes by attribute": {
			user:  v1alpha1.UserSpec{Attributes: custom(`{"role":"admin","regions":" us1 ,,emea2,us1"}`)},
			roles: []string{`admin@emea2: attribute role is "admin"`, `admin@us1: attribute role is "admin"`},
		},
		"unknown scope does not widen to every scope": {
			user:     v1alpha1.UserSpec{Attributes: custom(`{"role":"admin","regions":"mars"}`)},
			problems: []string{`MissingScope: attribute regions names "mars", which is no scope of the App`},
		},
		"scopes in a form that cannot be read do not widen to every scope": {
			user:     v1alpha1.UserSpec{Attributes: custom(`{"role":"admin","regions":{"us1":true}}`)},
			problems: []string{"MissingScope: attribute regions names no scope in a form that can be read: a text, or an array of texts or of objects with a value"},
		},
		"unknown scope beside a known one": {
			user:     v1alpha1.UserSpec{Attributes: custom(`{"role":"admin","regions":["us1","mars"]}`)},
			roles:    []string{`admin@us1: attribute role is "admin"`},
			problems: []string{`MissingScope: attribute regions names "mars", which is no scope of the App`},
		},
		"role restricted to a scope": {
			app:   func(spec *v1alpha1.AppSpec) { spec.Roles[1].Scopes = []string{"emea2"} },
			user:  v1alpha1.UserSpec{Attributes: custom(`{"role":"admin"}`)},
			roles: []string{`admin@emea2: attribute role is "admin"`},
		},
		"role restricted to a scope that the person does not hold": {
			app:  func(spec *v1alpha1.AppSpec) { spec.Roles[1].Scopes = []string{"emea2"} },
			user: v1alpha1.UserSpec{Attributes: custom(`{"role":"admin","regions":"us1"}`)},
		},
		"no scopes in the App": {
			app:   func(spec *v1alpha1.AppSpec) { spec.Scopes = v1alpha1.Scopes{} },
			user:  v1alpha1.UserSpec{Attributes: custom(`{"role":"admin"}`)},
			roles: []string{`admin@default: attribute role is "admin"`},
		},
		"nothing earned": {app: func(spec *v1alpha1.AppSpec) { spec.RoleAssignment.Default = nil }},
	} {
		t.Run(name, func(t *testing.T) {
			app := testApp()
			if test.app != nil {
				test.app(&app.Spec)
			}
			policy, errors := Compile(app)
			if len(errors) > 0 {
				t.Fatal(errors)
			}
			decision, err := policy.Evaluate(t.Context(), &test.user, nil, noon)
			if err != nil {
				t.Fatal(err)
			}
			var roles, problems []string
			for _, role := range decision.Roles {
				roles = append(roles, fmt.Sprintf("%s@%s: %s", role.Role, role.Scope, strings.Join(role.Reasons, ", ")))
			}
			for _, problem := range decision.Problems {
				problems = append(problems, problem.Reason+": "+problem.Message)
			}
			if !slices.Equal(roles, test.roles) {
				t.Errorf("roles = %q, want %q", roles, test.roles)
			}
			if !slices.Equal(problems, test.problems) {
				t.Errorf("problems = %q, want %q", problems, test.problems)
			}
		})
	}
}

func TestScopeWithoutListIsTheAppsNamespace(t *testing.T) {
	app := testApp()
	app.Spec.Scopes = v1alpha1.Scopes{}
	policy, _ := Compile(app)
	scope, found := policy.Scope(v1alpha1.DefaultScope)
	if !found || !slices.Equal(scope.Namespaces, []string{"directory"}) {
		t.Errorf("scope = %+v, %v", scope, found)
	}
}

func TestGrants(t *testing.T) {
	app := testApp()
	app.Spec.Roles[1].Scopes = []string{"us1"}
	policy, _ := Compile(app)
	for _, test := range []struct {
		role, scope string
		want        bool
	}{{"admin", "us1", true}, {"admin", "emea2", false}, {"viewer", "emea2", true}, {"viewer", "mars", false}, {"nobody", "us1", false}} {
		if _, found := policy.Grants(test.role, test.scope); found != test.want {
			t.Errorf("Grants(%s, %s) found = %v, want %v", test.role, test.scope, found, test.want)
		}
	}
}

func TestSubject(t *testing.T) {
	empty, part := "", "sys"
	for name, test := range map[string]struct {
		mapping v1alpha1.KubernetesMapping
		user    v1alpha1.UserSpec
		want    string
		err     string
	}{
		"exact case":       {user: v1alpha1.UserSpec{UserName: "Jane@Example.com"}, want: "okta:Jane@Example.com"},
		"email":            {mapping: v1alpha1.KubernetesMapping{UsernameFrom: "email"}, user: v1alpha1.UserSpec{UserName: "j", Emails: []v1alpha1.MultiValue{{Value: "a@x"}, {Value: "b@x", Primary: true}}}, want: "okta:b@x"},
		"no email":         {mapping: v1alpha1.KubernetesMapping{UsernameFrom: "email"}, user: v1alpha1.UserSpec{UserName: "j"}, err: "the user has no email"},
		"no external id":   {mapping: v1alpha1.KubernetesMapping{UsernameFrom: "externalId"}, user: v1alpha1.UserSpec{UserName: "j"}, err: "the user has no externalId"},
		"empty prefix":     {mapping: v1alpha1.KubernetesMapping{UsernamePrefix: &empty}, user: v1alpha1.UserSpec{UserName: "jane"}, want: "jane"},
		"reserved":         {mapping: v1alpha1.KubernetesMapping{UsernamePrefix: &empty}, user: v1alpha1.UserSpec{UserName: "system:admin"}, err: "attribute userName makes a Kubernetes user name that begins with system:"},
		"reserved in half": {mapping: v1alpha1.KubernetesMapping{UsernamePrefix: &part}, user: v1alpha1.UserSpec{UserName: "tem:admin"}, err: "attribute userName makes"},
		"too long":         {mapping: v1alpha1.KubernetesMapping{UsernameFrom: "email"}, user: v1alpha1.UserSpec{Emails: []v1alpha1.MultiValue{{Value: strings.Repeat("x", 2000)}}}, err: "attribute email makes a Kubernetes user name of more than 1024 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Subject(test.mapping, &test.user)
			if got != test.want || (err == nil) != (test.err == "") || (err != nil && !strings.HasPrefix(err.Error(), test.err)) {
				t.Errorf("Subject = %q, %v, want %q, %q", got, err, test.want, test.err)
			}
		})
	}
}

func TestSubjects(t *testing.T) {
	for name, test := range map[string]struct {
		from, status string
		generation   int64
		want         []string
	}{
		"as the status tells":        {"", "okta:anything", 1, []string{"okta:jane", "okta:anything", "okta:j@x", "okta:00u1"}},
		"as the status tells, by id": {"externalId", "okta:anything", 1, []string{"okta:00u1", "okta:anything", "okta:jane", "okta:j@x"}},
		"the userName still":         {"externalId", "okta:jane", 2, []string{"okta:00u1", "okta:jane", "okta:j@x"}},
		"a name that was given away": {"email", "okta:maiden", 2, []string{"okta:j@x", "okta:jane", "okta:00u1"}},
		"another prefix":             {"", "entra:jane", 1, []string{"okta:jane", "entra:jane", "okta:j@x", "okta:00u1"}},
		"another prefix before":      {"", "entra:jane", 2, []string{"okta:jane", "okta:j@x", "okta:00u1"}},
		"no status":                  {"", "", 1, []string{"okta:jane", "okta:j@x", "okta:00u1"}},
	} {
		t.Run(name, func(t *testing.T) {
			user := &v1alpha1.User{}
			user.Generation, user.Status = test.generation, v1alpha1.UserStatus{ObservedGeneration: 1, KubernetesUsername: test.status}
			user.Spec = v1alpha1.UserSpec{UserName: "jane", ExternalID: "00u1", Emails: []v1alpha1.MultiValue{{Value: "j@x"}}}
			if got := Subjects(v1alpha1.KubernetesMapping{UsernameFrom: test.from}, user); !slices.Equal(got, test.want) {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}
