package okta_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	okta "github.com/scim-operator/scim-operator/test/okta/client"
	"github.com/scim-operator/scim-operator/test/okta/harness"
)

// What went wrong for others between an identity provider and a cluster, by their trackers.

// canSoon waits until the API server answers yes, or no, for ConfigMaps in a namespace.
func canSoon(t *testing.T, subject, verb, namespace string, want bool) {
	t.Helper()
	soon(t, fmt.Sprintf("%s may %s in %s: %t", subject, verb, namespace, want), func(ctx context.Context) error {
		got, err := operator.CanI(ctx, subject, verb, "pods", namespace)
		if err == nil && got != want {
			err = fmt.Errorf("it is %t", got)
		}
		return err
	})
}

// conditionSoon waits until a user says so of itself, and returns the message.
func conditionSoon(t *testing.T, app harness.App, id, kind string, status metav1.ConditionStatus) (message string) {
	t.Helper()
	soon(t, kind+" of "+id, func(context.Context) error {
		found := meta.FindStatusCondition(operator.User(t, app, id).Status.Conditions, kind)
		if found == nil || found.Status != status {
			return fmt.Errorf("it is %+v", found)
		}
		message = found.Message
		return nil
	})
	return message
}

// Without a prefix, a user that has no address makes no empty subject, has a condition that says why, and stops no other user.
func TestNoAddressNoSubject(t *testing.T) {
	operator.ShowOnFailure(t)
	app := operator.NewApp(t, operator.Server, operator.Env.Namespace(t, nil), "no-prefix", func(spec *v1alpha1.AppSpec) {
		spec.Kubernetes.UsernamePrefix, spec.Kubernetes.UsernameFrom = new(""), "email"
	})
	app.Prefix = ""
	scim := operator.Client(operator.Server, "/scim/v2", app, okta.Template)
	person := func(address string) (name, id string) {
		name = newName(t, "address")
		emails := ""
		if address != "" {
			emails = fmt.Sprintf(`,"emails":[{"primary":true,"type":"work","value":%q}]`, address)
		}
		return name, create(t, scim, fmt.Sprintf(`{"schemas":[%q],"userName":%q,"active":true,"role":"viewer"%s}`, okta.SchemaUser, name, emails)).Text("id")
	}
	before, after := newName(t, "before"), newName(t, "after")
	_, first := person(before)
	without, lacking := person("")
	person(after)
	for _, subject := range []string{before, after} {
		operator.AccessSoon(t, subject, harness.Everywhere(harness.Viewer))
	}
	if message := conditionSoon(t, app, lacking, v1alpha1.ConditionAccessGranted, metav1.ConditionFalse); !strings.Contains(message, "email") {
		t.Errorf("the condition says %q", message)
	}
	operator.AccessNow(t, without, harness.Nowhere())
	bindings := &rbacv1.RoleBindingList{}
	must(t, operator.Env.Client.List(t.Context(), bindings, client.MatchingLabels{v1alpha1.LabelApp: app.Name, v1alpha1.LabelAppNamespace: app.Namespace}))
	for i := range bindings.Items {
		for _, subject := range bindings.Items[i].Subjects {
			if subject.Name != before && subject.Name != after {
				t.Errorf("a binding names %q", subject.Name)
			}
		}
	}
	patch(t, scim, first, `{"op":"replace","value":{"active":false}}`)
	operator.AccessNow(t, before, harness.Nowhere())
	operator.AccessNow(t, after, harness.Everywhere(harness.Viewer))
}

// One namespace of a scope is missing: the others are bound meanwhile, and it is as soon as it exists.
func TestANamespaceThatComesLater(t *testing.T) {
	operator.ShowOnFailure(t)
	directory := operator.Env.Namespace(t, nil)
	later := directory + "-later"
	app := operator.NewApp(t, operator.Server, directory, "later", func(spec *v1alpha1.AppSpec) {
		spec.Scopes = v1alpha1.Scopes{List: []v1alpha1.Scope{{Name: "s", Namespaces: []string{directory + "-never", "team-a", later}}}}
	})
	scim := operator.Client(operator.Server, "/scim/v2", app, okta.Template)
	name := newName(t, "later")
	create(t, scim, userJSON(name, `,"role":"viewer"`))
	operator.AccessSoon(t, app.Subject(name), harness.Access{"team-a": harness.Viewer})
	must(t, operator.Env.Client.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: later}}))
	canSoon(t, app.Subject(name), "list", later, true)
}

// A policy of the cluster refuses RoleBindings in one namespace: the rest is bound, the status tells, and it heals by itself.
func TestAPolicyRefusesBindings(t *testing.T) {
	operator.ShowOnFailure(t)
	closed := operator.Env.Namespace(t, nil)
	app := operator.NewApp(t, operator.Server, operator.Env.Namespace(t, nil), "refused", func(spec *v1alpha1.AppSpec) {
		spec.Scopes = v1alpha1.Scopes{List: []v1alpha1.Scope{{Name: "s", Namespaces: []string{closed, "team-a"}}}}
	})
	open := refuseBindings(t, closed)
	scim := operator.Client(operator.Server, "/scim/v2", app, okta.Template)
	name := newName(t, "refused")
	id := create(t, scim, userJSON(name, `,"role":"viewer"`)).Text("id")
	operator.AccessSoon(t, app.Subject(name), harness.Access{"team-a": harness.Viewer})
	if message := conditionSoon(t, app, id, v1alpha1.ConditionAccessGranted, metav1.ConditionFalse); !strings.Contains(message, "no bindings here") {
		t.Errorf("the condition says %q, not what the policy says", message)
	}
	canSoon(t, app.Subject(name), "list", closed, false)
	open()
	soon(t, "the binding in "+closed, func(ctx context.Context) error {
		allowed, err := operator.CanI(ctx, app.Subject(name), "list", "pods", closed)
		if err == nil && !allowed {
			err = fmt.Errorf("it is not there")
		}
		return err
	})
	conditionSoon(t, app, id, v1alpha1.ConditionAccessGranted, metav1.ConditionTrue)
}

// refuseBindings has a policy refuse RoleBindings in a namespace until open is called.
func refuseBindings(t *testing.T, namespace string) (open func()) {
	t.Helper()
	fail := admissionv1.Fail
	policy := &admissionv1.ValidatingAdmissionPolicy{ObjectMeta: metav1.ObjectMeta{Name: "closed-" + namespace}, Spec: admissionv1.ValidatingAdmissionPolicySpec{
		FailurePolicy: &fail,
		MatchConstraints: &admissionv1.MatchResources{
			NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: namespace}},
			ResourceRules: []admissionv1.NamedRuleWithOperations{{RuleWithOperations: admissionv1.RuleWithOperations{
				Operations: []admissionv1.OperationType{admissionv1.Create, admissionv1.Update},
				Rule:       admissionv1.Rule{APIGroups: []string{rbacv1.GroupName}, APIVersions: []string{"v1"}, Resources: []string{"rolebindings"}},
			}}},
		},
		Validations: []admissionv1.Validation{{Expression: "false", Message: "no bindings here"}},
	}}
	binding := &admissionv1.ValidatingAdmissionPolicyBinding{ObjectMeta: metav1.ObjectMeta{Name: policy.Name}, Spec: admissionv1.ValidatingAdmissionPolicyBindingSpec{
		PolicyName: policy.Name, ValidationActions: []admissionv1.ValidationAction{admissionv1.Deny},
	}}
	for _, object := range []client.Object{policy, binding} {
		must(t, operator.Env.Client.Create(t.Context(), object))
	}
	open = func() {
		for _, object := range []client.Object{binding, policy} {
			_ = operator.Env.Client.Delete(context.WithoutCancel(t.Context()), object)
		}
	}
	t.Cleanup(open)
	soon(t, "the policy", func(ctx context.Context) error {
		trial := &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "trial"}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "view"}}
		if err := operator.Env.Client.Create(ctx, trial, client.DryRunAll); err == nil || !strings.Contains(err.Error(), "no bindings here") {
			return fmt.Errorf("it is not in force yet: %w", err)
		}
		return nil
	})
	return open
}

// An App with durations in spellings of its own shows no difference to Git after it was applied, and keeps them.
func TestDurationsStayAsTheyAreSpelled(t *testing.T) {
	directory := operator.Env.Namespace(t, nil)
	sample := &v1alpha1.App{}
	must(t, operator.Env.Client.Get(t.Context(), client.ObjectKey{Namespace: harness.SampleNamespace, Name: harness.SampleApp}, sample))
	spec, err := json.Marshal(map[string]any{"roles": sample.Spec.Roles, "roleAssignment": map[string]any{"default": []string{harness.Viewer}},
		"safety": map[string]any{"maxRemovals": 5, "window": "60m"}, "deactivation": map[string]any{"confirmWithin": "2000ms", "deleteAfter": "720h"}})
	must(t, err)
	manifest := filepath.Join(t.TempDir(), "app.json")
	must(t, os.WriteFile(manifest, fmt.Appendf(nil, `{"apiVersion":"scim-operator.io/v1alpha1","kind":"App","metadata":{"name":"spelled","namespace":%q},"spec":%s}`, directory, spec), 0o600))
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	must(t, operator.Env.ControlPlane.WriteKubeconfig(kubeconfig, "admin", "system:masters"))
	kubectl := func(arguments ...string) ([]byte, error) {
		return exec.CommandContext(t.Context(), operator.Env.Kubectl, append([]string{"--kubeconfig", kubeconfig}, arguments...)...).CombinedOutput()
	}
	if output, err := kubectl("apply", "--server-side", "-f", manifest); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	if output, err := kubectl("-n", directory, "wait", "--for=condition=Ready", "--timeout=60s", "sapp/spelled"); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	if output, err := kubectl("diff", "--server-side", "-f", manifest); err != nil { // exit status 1: there is a difference
		t.Errorf("%v\n%s", err, output)
	}
	output, err := kubectl("-n", directory, "get", "sapp", "spelled", "-o", "jsonpath={.spec.safety.window} {.spec.deactivation.confirmWithin} {.spec.deactivation.deleteAfter}")
	if err != nil || string(output) != "60m 2000ms 720h" {
		t.Errorf("%v %s", err, output)
	}
}

// GitOps deletes an App and makes it again, by a manifest that lists the token: people, token and access are back.
func TestAnAppMadeAgain(t *testing.T) {
	scim, app := ownApp(t, okta.Template)
	key := client.ObjectKey{Namespace: app.Namespace, Name: app.Name}
	object := &v1alpha1.App{}
	must(t, operator.Env.Client.Get(t.Context(), key, object))
	name := newName(t, "again")
	id := create(t, scim, userJSON(name, `,"role":"viewer"`)).Text("id")
	operator.AccessSoon(t, app.Subject(name), harness.Everywhere(harness.Viewer))
	must(t, operator.Env.Client.Delete(t.Context(), object))
	soon(t, "the end of the App", func(ctx context.Context) error {
		if err := operator.Env.Client.Get(ctx, key, &v1alpha1.App{}); client.IgnoreNotFound(err) != nil || err == nil {
			return fmt.Errorf("it is there: %w", err)
		}
		return nil
	})
	operator.AccessSoon(t, app.Subject(name), harness.Nowhere())
	again := &v1alpha1.App{ObjectMeta: metav1.ObjectMeta{Namespace: app.Namespace, Name: app.Name}, Spec: object.Spec}
	must(t, operator.Env.Client.Create(t.Context(), again))
	operator.Opens(t, operator.Server, app)
	operator.AccessSoon(t, app.Subject(name), harness.Everywhere(harness.Viewer))
	if found := get(t, scim, id); found.Text("userName") != name {
		t.Errorf("%s", found)
	}
}

// Operations in lower case, schemas that are null, paths that are null or empty: the change is made, and no answer holds a null.
func TestOddlyWrittenPatches(t *testing.T) {
	scim, app := ownApp(t, okta.Template)
	name := newName(t, "odd")
	id := create(t, scim, userJSON(name, `,"role":"viewer"`)).Text("id")
	operator.AccessSoon(t, app.Subject(name), harness.Everywhere(harness.Viewer))
	for _, c := range []struct {
		body   string
		active bool
	}{
		{`{"schemas":["` + okta.SchemaPatchOp + `"],"operations":[{"op":"replace","path":"active","value":false}]}`, false},
		{`{"schemas":null,"Operations":[{"op":"replace","path":null,"value":{"active":true}}]}`, true},
		{`{"schemas":["` + okta.SchemaPatchOp + `"],"Operations":[{"op":"replace","path":"","value":{"active":false}}]}`, false},
	} {
		answer := do(t, scim, http.MethodPatch, "/Users/"+id, c.body)
		must(t, answer.ExpectUser())
		if body := string(answer.Body); !strings.Contains(body, fmt.Sprintf(`"active":%t`, c.active)) || strings.Contains(body, "null") {
			t.Errorf("%s is answered %s", c.body, body)
		}
		want := harness.Nowhere()
		if c.active {
			want = harness.Everywhere(harness.Viewer)
			operator.AccessSoon(t, app.Subject(name), want)
		}
		operator.AccessNow(t, app.Subject(name), want)
	}
}

// Slashes too many find the same; the base URL itself says what is wrong.
func TestSlashesAndTheBaseURL(t *testing.T) {
	scim, _ := ownApp(t, okta.Template)
	name := newName(t, "slash")
	create(t, scim, userJSON(name, ""))
	for _, path := range []string{"/Users", "/Users/", "//Users", "//Users/"} {
		list := do(t, scim, http.MethodGet, path+okta.FilterQuery(okta.Equals("userName", name)), "")
		must(t, list.ExpectUsers())
		if found := idsOf(list); len(found) != 1 {
			t.Errorf("%s finds %v", path, found)
		}
	}
	for _, path := range []string{"", "/"} {
		answer := do(t, scim, http.MethodGet, path, "")
		must(t, answer.ExpectError(http.StatusNotFound, ""))
		if detail := answer.Text("detail"); !strings.Contains(detail, "base URL") {
			t.Errorf("%q is answered %q", path, detail)
		}
	}
}

// A group with an inactive and an unknown member: the rest is in, and the inactive one has the role as soon as it is back.
func TestAGroupWithAnInactiveMember(t *testing.T) {
	operator.ShowOnFailure(t)
	app := operator.NewApp(t, operator.Server, operator.Env.Namespace(t, nil), "members", func(spec *v1alpha1.AppSpec) {
		for i := range spec.Roles {
			if spec.Roles[i].Name == harness.Developer {
				spec.Roles[i].Groups = []string{"Engineers"}
			}
		}
		spec.RoleAssignment.Default = nil
	})
	scim := operator.Client(operator.Server, "/scim/v2", app, okta.Template)
	away, here := newName(t, "away"), newName(t, "here")
	inactive := create(t, scim, userJSON(away, "")).Text("id")
	patch(t, scim, inactive, `{"op":"replace","value":{"active":false}}`)
	active := create(t, scim, userJSON(here, "")).Text("id")
	made := do(t, scim, http.MethodPost, "/Groups", fmt.Sprintf(`{"schemas":[%q],"displayName":"Engineers","members":[{"value":%q},{"value":%q},{"value":"stranger-aaaaaaaaaa"}]}`, okta.SchemaGroup, inactive, active))
	must(t, made.ExpectStatus(http.StatusCreated))
	operator.AccessSoon(t, app.Subject(here), harness.Everywhere(harness.Developer))
	operator.AccessNow(t, app.Subject(away), harness.Nowhere())
	patch(t, scim, inactive, `{"op":"Replace","path":"active","value":"True"}`)
	operator.AccessSoon(t, app.Subject(away), harness.Everywhere(harness.Developer))
}

// A namespace of a scope ends: what cannot be written there any more is no error, and is nothing that a leaver waits for.
func TestANamespaceThatEnds(t *testing.T) {
	operator.ShowOnFailure(t)
	ending := operator.Env.Namespace(t, nil)
	app := operator.NewApp(t, operator.Server, operator.Env.Namespace(t, nil), "ending", func(spec *v1alpha1.AppSpec) {
		spec.Scopes = v1alpha1.Scopes{List: []v1alpha1.Scope{{Name: "s", Namespaces: []string{ending, "team-a"}}}}
	})
	scim := operator.Client(operator.Server, "/scim/v2", app, okta.Template)
	before, after := newName(t, "before"), newName(t, "after")
	leaver := create(t, scim, userJSON(before, `,"role":"viewer"`)).Text("id")
	canSoon(t, app.Subject(before), "list", ending, true)
	must(t, operator.Env.Client.Delete(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: ending}})) // it stays, and takes nothing new
	create(t, scim, userJSON(after, `,"role":"viewer"`))
	operator.AccessSoon(t, app.Subject(after), harness.Access{"team-a": harness.Viewer})
	patch(t, scim, leaver, `{"op":"replace","value":{"active":false}}`)
	operator.AccessNow(t, app.Subject(before), harness.Nowhere())
	canSoon(t, app.Subject(before), "list", ending, false)
	for line := range strings.SplitSeq(operator.ControllerLog.String(), "\n") {
		if strings.Contains(line, `"level":"ERROR"`) && (strings.Contains(line, ending) || strings.Contains(line, app.Namespace)) {
			t.Errorf("the controller logs %s", line)
		}
	}
}
