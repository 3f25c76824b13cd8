package access

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

func TestCompileNamesTheFieldAtFault(t *testing.T) {
	role := func(change func(*v1alpha1.Role)) func(*v1alpha1.AppSpec) {
		return func(spec *v1alpha1.AppSpec) { change(&spec.Roles[1]) }
	}
	for name, test := range map[string]struct {
		change func(*v1alpha1.AppSpec)
		want   []string
	}{
		"sound": {change: func(*v1alpha1.AppSpec) {}},
		"unknown scope of a role": {
			change: role(func(r *v1alpha1.Role) { r.Scopes = []string{"us1", "mars"} }),
			want:   []string{`spec.roles[1].scopes[1]: "mars" is no scope of the App`},
		},
		"unknown default": {
			change: func(spec *v1alpha1.AppSpec) { spec.RoleAssignment.Default = []string{"viewer", "nobody"} },
			want:   []string{`spec.roleAssignment.default[1]: "nobody" is no role of the App`},
		},
		"expression does not parse": {
			change: role(func(r *v1alpha1.Role) { r.When = `user.department ==` }),
			want:   []string{`spec.roles[1].when: 1:19: Syntax error`},
		},
		"expression with an unknown variable": {
			change: role(func(r *v1alpha1.Role) { r.When = "user.active &&\n  person.active" }),
			want:   []string{`spec.roles[1].when: 2:3: undeclared reference to 'person'`},
		},
		"expression that is no condition": {
			change: role(func(r *v1alpha1.Role) { r.When = `"yes"` }),
			want:   []string{`spec.roles[1].when: 1:1: the expression gives string, not bool`},
		},
		"scope attribute that is not declared": {
			change: func(spec *v1alpha1.AppSpec) { spec.Scopes.FromAttribute = "region" },
			want:   []string{`spec.scopes.fromAttribute: no attribute "region" is declared in spec.attributes`},
		},
		"scope attribute that is dropped": {
			change: func(spec *v1alpha1.AppSpec) {
				spec.Scopes.FromAttribute, spec.Provisioning.DropAttributes = "department", []string{"title", "Department"}
			},
			want: []string{`spec.scopes.fromAttribute: spec.provisioning.dropAttributes leaves out "department"`},
		},
		"end that is dropped": {
			change: func(spec *v1alpha1.AppSpec) {
				spec.Attributes = append(spec.Attributes, v1alpha1.CustomAttribute{Name: "contractEnd", Type: "dateTime"})
				spec.Roles[1].UntilAttribute, spec.Roles[1].UntilOptional = "contractEnd", true
				spec.Provisioning.DropAttributes = []string{"contractend"}
			},
			want: []string{`spec.roles[1].untilAttribute: spec.provisioning.dropAttributes leaves out "contractEnd"`},
		},
		"scope attribute of RFC 7643": {change: func(spec *v1alpha1.AppSpec) { spec.Scopes.FromAttribute = "department" }},
		"selector": {
			change: func(spec *v1alpha1.AppSpec) {
				spec.Scopes.List[1].NamespaceSelector.MatchExpressions = []metav1.LabelSelectorRequirement{{Key: "region", Operator: "Near"}}
			},
			want: []string{`spec.scopes.list[1].namespaceSelector: "Near" is not a valid label selector operator`},
		},
		"scope of two kinds": {
			change: func(spec *v1alpha1.AppSpec) { spec.Scopes.List[1].ClusterWide = true },
			want:   []string{`spec.scopes.list[1]: exactly one of`},
		},
		"scope of no kind": {
			change: func(spec *v1alpha1.AppSpec) { spec.Scopes.List[0].Namespaces = nil },
			want:   []string{`spec.scopes.list[0]: exactly one of`},
		},
		"namespaced role in the whole cluster": {
			change: role(func(r *v1alpha1.Role) { r.Grants = []v1alpha1.Grant{{ClusterRole: "edit"}, {Role: "deployer"}} }),
			want:   []string{`spec.roles[1].grants[1].role: a namespaced role cannot be bound in scope "everywhere"`},
		},
		"grant of two kinds": {
			change: role(func(r *v1alpha1.Role) { r.Grants = []v1alpha1.Grant{{ClusterRole: "edit", Role: "deployer"}} }),
			want:   []string{`spec.roles[1].grants[0]: exactly one of`},
		},
		"two roles of one name": {
			change: role(func(r *v1alpha1.Role) { r.Name = "viewer" }),
			want:   []string{`spec.roles[1].name: another role is called "viewer"`},
		},
		"two scopes of one name": {
			change: func(spec *v1alpha1.AppSpec) { spec.Scopes.List[2].Name = "us1" },
			want:   []string{`spec.scopes.list[2].name: another scope is called "us1"`},
		},
		"reserved prefixes": {
			change: func(spec *v1alpha1.AppSpec) {
				reserved := "system:okta:"
				spec.Kubernetes.UsernamePrefix, spec.Kubernetes.GroupPrefix = &reserved, &reserved
			},
			want: []string{
				`spec.kubernetes.usernamePrefix: must not begin with system:`,
				`spec.kubernetes.groupPrefix: must not begin with system:`,
			},
		},
		"safety that lets no user go": {
			change: func(spec *v1alpha1.AppSpec) {
				spec.Safety = &v1alpha1.Safety{Window: &metav1.Duration{Duration: -time.Second}}
			},
			want: []string{`spec.safety.maxRemovals: must be at least 1`, `spec.safety.window: must be more than 0s`},
		},
		"expression that takes a group for a person": {
			change: role(func(r *v1alpha1.Role) { r.When = `user.active && groups.displayName == "admins"` }),
			want:   []string{`spec.roles[1].when: 1:22: type 'list(string)' does not support field selection`},
		},
	} {
		t.Run(name, func(t *testing.T) {
			app := testApp()
			test.change(&app.Spec)
			policy, errors := Compile(app)
			if (policy == nil) != (len(test.want) > 0) {
				t.Errorf("policy = %v with errors %v", policy, errors)
			}
			if len(errors) != len(test.want) {
				t.Fatalf("errors = %v, want %q", errors, test.want)
			}
			for i, want := range test.want {
				if !strings.HasPrefix(errors[i].Error(), want) {
					t.Errorf("error %d = %q, want %q…", i, errors[i].Error(), want)
				}
				if strings.Contains(errors[i].Error(), "\n") {
					t.Errorf("error %d has more than one line: %q", i, errors[i].Error())
				}
			}
		})
	}
}

func TestMessageIsBounded(t *testing.T) {
	var errors []FieldError
	for range 200 {
		errors = append(errors, FieldError{Field: "spec.roles[0]", Reason: "wrong"})
	}
	if message := Message(errors); !strings.HasSuffix(message, "; and 195 more") || len(message) > 200 {
		t.Errorf("message = %q", message)
	}
}

func TestCacheFollowsGeneration(t *testing.T) {
	var cache Cache
	app := testApp()
	app.UID, app.Generation = "app-uid", 1
	first, _ := cache.Compile(app)
	if again, _ := cache.Compile(app); again != first {
		t.Error("the same generation was compiled twice")
	}
	app.Spec.Safety, app.Generation = &v1alpha1.Safety{}, 2
	if policy, errors := cache.Compile(app); policy != nil || len(errors) != 1 {
		t.Errorf("generation 2: policy %v, errors %v", policy, errors)
	}
}

// testApp has two roles, and a scope of each kind.
func testApp() *v1alpha1.App {
	return &v1alpha1.App{
		ObjectMeta: metav1.ObjectMeta{Namespace: "directory", Name: "demo"},
		Spec: v1alpha1.AppSpec{
			Attributes:     []v1alpha1.CustomAttribute{{Name: "regions"}},
			RoleAssignment: v1alpha1.RoleAssignment{FromAttributes: []string{"role", "roles", "entitlements"}, Default: []string{"viewer"}},
			Roles: []v1alpha1.Role{
				{Name: "viewer", Grants: []v1alpha1.Grant{{ClusterRole: "view"}}},
				{Name: "admin", Grants: []v1alpha1.Grant{{ClusterRole: "admin"}}},
			},
			Scopes: v1alpha1.Scopes{
				FromAttribute: "regions",
				List: []v1alpha1.Scope{
					{Name: "us1", Namespaces: []string{"us1"}},
					{Name: "emea2", NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"region": "emea2"}}},
					{Name: "everywhere", ClusterWide: true},
				},
			},
		},
	}
}

// A protected namespace is in no scope by a selector that does not name it.
func TestProtectedNamespaces(t *testing.T) {
	const system = "kube-system"
	named := func(operator metav1.LabelSelectorOperator, values ...string) *metav1.LabelSelector {
		return &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: corev1.LabelMetadataName, Operator: operator, Values: values}}}
	}
	existing := map[string]labels.Set{
		system: {corev1.LabelMetadataName: system, "team": "a"}, "web": {corev1.LabelMetadataName: "web", "team": "a"},
	}
	for name, test := range map[string]struct {
		selector *metav1.LabelSelector
		in, left bool
	}{
		"everything":          {selector: &metav1.LabelSelector{}, left: true},
		"by a label":          {selector: &metav1.LabelSelector{MatchLabels: map[string]string{"team": "a"}}, left: true},
		"by another's absent": {selector: named(metav1.LabelSelectorOpNotIn, "web"), left: true},
		"that it has a name":  {selector: named(metav1.LabelSelectorOpExists), left: true},
		"not at all":          {selector: &metav1.LabelSelector{MatchLabels: map[string]string{"team": "b"}}},
		"left out by name":    {selector: named(metav1.LabelSelectorOpNotIn, system)},
		"named by a label":    {selector: &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: system}}, in: true},
		"named in a list":     {selector: named(metav1.LabelSelectorOpIn, "web", system), in: true},
	} {
		app := testApp()
		app.Spec.Scopes.List[1].NamespaceSelector = test.selector
		policy, errs := Compile(app, system, "operator")
		if len(errs) > 0 {
			t.Fatalf("%s: %v", name, errs)
		}
		scope, _ := policy.Scope("emea2")
		if in := scope.Selector.Matches(existing[system]); in != test.in {
			t.Errorf("%s: takes in kube-system: %v", name, in)
		}
		if left := len(scope.LeftOut(existing)) > 0; left != test.left {
			t.Errorf("%s: says that it leaves kube-system out: %v", name, left)
		}
	}
}
