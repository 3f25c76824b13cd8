package policycheck

import (
	"slices"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/config"
)

func expectedOf(t *testing.T, i installation) []client.Object {
	t.Helper()
	objects, err := expected(config.Policies, i)
	if err != nil {
		t.Fatal(err)
	}
	if len(objects) < 20 {
		t.Fatalf("%d policies and bindings: this test looks at nothing", len(objects))
	}
	return objects
}

func expectedDefinitions(t *testing.T) []client.Object {
	t.Helper()
	objects, err := expected(config.Definitions, installation{"acme-", "-eu", "identity"})
	if err != nil {
		t.Fatal(err)
	}
	return objects
}

// The controller may read each policy, binding and definition that it looks for, and no others.
func TestRoleNamesThePolicies(t *testing.T) {
	raw, err := config.FS.ReadFile("rbac/policy_reader.yaml")
	if err != nil {
		t.Fatal(err)
	}
	role := &rbacv1.ClusterRole{}
	first, _, _ := strings.Cut(string(raw), "\n---\n")
	if err := yaml.UnmarshalStrict([]byte(first), role); err != nil {
		t.Fatal(err)
	}
	allowed := map[string][]string{}
	for _, rule := range role.Rules {
		if !slices.Equal(rule.Verbs, []string{"get"}) || len(rule.ResourceNames) == 0 || len(rule.Resources) != 1 {
			t.Errorf("the rule %+v gives more than to read named objects", rule)
			continue
		}
		allowed[rule.Resources[0]] = append(allowed[rule.Resources[0]], rule.ResourceNames...)
	}
	wanted := map[string][]string{}
	for _, object := range append(expectedOf(t, installation{}), expectedDefinitions(t)...) {
		resource := map[string]string{
			policyKind: "validatingadmissionpolicies", bindingKind: "validatingadmissionpolicybindings", definitionKind: "customresourcedefinitions",
		}[object.GetObjectKind().GroupVersionKind().Kind]
		wanted[resource] = append(wanted[resource], object.GetName())
	}
	for resource, names := range wanted {
		slices.Sort(names)
		slices.Sort(allowed[resource])
		if !slices.Equal(names, allowed[resource]) {
			t.Errorf("config/rbac/policy_reader.yaml lets the controller read %s %v, want %v", resource, allowed[resource], names)
		}
	}
	if len(allowed) != len(wanted) {
		t.Errorf("the role is about %v", allowed)
	}
}

func TestInstallationOf(t *testing.T) {
	for user, want := range map[string]installation{
		"system:serviceaccount:scim-operator-system:scim-operator-controller": {namespace: "scim-operator-system"},
		"system:serviceaccount:identity:acme-scim-operator-controller-eu":     {"acme-", "-eu", "identity"},
		"system:serviceaccount:identity:other":                                {namespace: "default-namespace"},
		"kubernetes-admin":                                                    {namespace: "default-namespace"},
		"scim-operator-controller":                                            {namespace: "default-namespace"},
		"":                                                                    {namespace: "default-namespace"},
	} {
		if got := installationOf(user, "default-namespace"); got != want {
			t.Errorf("%q: %+v, want %+v", user, got, want)
		}
	}
}

// An overlay's prefix and namespace are in every name that a binding holds.
func TestExpectedNames(t *testing.T) {
	for _, object := range expectedOf(t, installation{"acme-", "-eu", "identity"}) {
		names := []string{object.GetName()}
		if binding, ok := object.(*admissionv1.ValidatingAdmissionPolicyBinding); ok {
			names = append(names, binding.Spec.PolicyName)
			if param := binding.Spec.ParamRef; param != nil {
				if param.Namespace != "identity" && param.Namespace != "" {
					t.Errorf("%s takes its parameter from namespace %q", binding.Name, param.Namespace)
				}
				if param.Namespace == "" && param.Selector == nil {
					t.Errorf("%s names a parameter of each request's namespace", binding.Name)
				}
				if param.Name != "" {
					names = append(names, param.Name)
				}
			}
		}
		for _, name := range names {
			if !strings.HasPrefix(name, "acme-scim-operator-") || !strings.HasSuffix(name, "-eu") {
				t.Errorf("%s has the name %q in it", object.GetName(), name)
			}
		}
	}
}

// Whatever weakens a policy or its binding is found; what the API server fills in is not.
func TestDifferences(t *testing.T) {
	type (
		policy  = admissionv1.ValidatingAdmissionPolicy
		binding = admissionv1.ValidatingAdmissionPolicyBinding
	)
	selector := &metav1.LabelSelector{MatchLabels: map[string]string{"a": "b"}}
	for name, test := range map[string]struct {
		policy  func(*policy)
		binding func(*binding)
		want    string
	}{
		"nothing":           {},
		"labels":            {policy: func(p *policy) { p.Labels = selector.MatchLabels }, binding: func(b *binding) { b.Labels = selector.MatchLabels }},
		"the defaults":      {policy: func(p *policy) { setDefaults(p.Spec.MatchConstraints) }},
		"failure is let by": {policy: func(p *policy) { p.Spec.FailurePolicy = new(admissionv1.Ignore) }, want: "spec.failurePolicy"},
		"ends of line": {policy: func(p *policy) {
			for i := range p.Spec.Validations {
				p.Spec.Validations[i].Expression = strings.ReplaceAll(p.Spec.Validations[i].Expression, "\n", "\n\n") + "\n"
			}
		}},
		"a blank": {policy: func(p *policy) {
			p.Spec.Validations[0].Expression = strings.Replace(p.Spec.Validations[0].Expression, "e", " e", 1)
		}, want: "spec.validations"},
		"no validations": {policy: func(p *policy) { p.Spec.Validations = nil }, want: "spec.validations"},
		"an expression":  {policy: func(p *policy) { p.Spec.Validations[0].Expression = "true" }, want: "spec.validations"},
		"a condition": {policy: func(p *policy) {
			p.Spec.MatchConditions = append(p.Spec.MatchConditions, admissionv1.MatchCondition{Name: "never", Expression: "false"})
		}, want: "spec.matchConditions"},
		"objects by label":    {policy: func(p *policy) { p.Spec.MatchConstraints.ObjectSelector = selector }, want: "spec.matchConstraints"},
		"namespaces by label": {policy: func(p *policy) { p.Spec.MatchConstraints.NamespaceSelector = selector }, want: "spec.matchConstraints"},
		"an exception": {policy: func(p *policy) {
			p.Spec.MatchConstraints.ExcludeResourceRules = p.Spec.MatchConstraints.ResourceRules
		}, want: "spec.matchConstraints"},
		"audit only":            {binding: func(b *binding) { b.Spec.ValidationActions = []admissionv1.ValidationAction{admissionv1.Audit} }, want: "spec.validationActions"},
		"another policy":        {binding: func(b *binding) { b.Spec.PolicyName = "other" }, want: "spec.policyName"},
		"a binding in part":     {binding: func(b *binding) { b.Spec.MatchResources = &admissionv1.MatchResources{NamespaceSelector: selector} }, want: "spec.matchResources"},
		"its parameter's place": {binding: func(b *binding) { b.Spec.ParamRef = &admissionv1.ParamRef{Name: "x", Namespace: "elsewhere"} }, want: "spec.paramRef"},
	} {
		t.Run(name, func(t *testing.T) {
			want, have := expectedOf(t, installation{namespace: "here"}), expectedOf(t, installation{namespace: "here"})
			for i := range want {
				changed := false
				switch object := have[i].(type) {
				case *policy:
					if changed = test.policy != nil; changed {
						test.policy(object)
					}
				case *binding:
					if changed = test.binding != nil; changed {
						test.binding(object)
					}
				}
				fields, err := differences(want[i], have[i])
				if err != nil {
					t.Fatal(err)
				}
				expect := ""
				if changed && (test.want != "spec.failurePolicy" || want[i].GetName() != "scim-operator-revoked") { // which ignores failures itself
					expect = test.want
				}
				if got := strings.Join(fields, ","); got != expect {
					t.Errorf("%s differs in %q, want %q", want[i].GetName(), got, expect)
				}
			}
		})
	}
}
