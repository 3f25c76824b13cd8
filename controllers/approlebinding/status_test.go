package approlebinding

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/controllers/approlebinding/overlay"
)

// Ready is true only where all that the App asks for is bound, or nothing is to be bound.
func TestReadyOfAnAppRoleBinding(t *testing.T) {
	refused := &refusal{}
	refused.add(viewRef, "a")
	for name, test := range map[string]struct {
		plan    plan
		mode    string
		grant   error
		natives int
		ready   bool
		reason  string
		message string
	}{
		"bound":            {natives: 2, ready: true, reason: v1alpha1.ReasonReady, message: "1 people are bound by 2 native bindings."},
		"no right to bind": {grant: refused, reason: v1alpha1.ReasonForbidden, message: `ClusterRole "view" in namespace a`},
		"forbidden": {
			grant:  apierrors.NewForbidden(schema.GroupResource{Resource: "rolebindings"}, "b", errors.New("no")),
			reason: v1alpha1.ReasonForbidden, message: "forbidden",
		},
		"not answered": {grant: errors.New("timeout"), natives: 1, reason: v1alpha1.ReasonBindingFailed, message: "timeout"},
		"dropped": {
			plan: plan{input: input{appState: appState{dropped: true}}}, natives: 1,
			reason: v1alpha1.ReasonTooManyRemovals, message: "spec.safety",
		},
		"frozen": {
			plan: plan{input: input{appState: appState{frozen: true}}}, natives: 1,
			reason: v1alpha1.ReasonAppNotReady, message: "invalid",
		},
		"a namespace is missing": {
			plan: plan{input: input{key: viewer, missing: []string{"x", "y"}}}, natives: 1,
			reason: v1alpha1.ReasonMissingScope, message: `Scope "default" names namespaces that do not exist: x, y.`,
		},
		"observed":    {mode: v1alpha1.ModeObserve, ready: true, reason: v1alpha1.ReasonObserved, message: "nothing is bound"},
		"grants none": {ready: true, reason: v1alpha1.ReasonReady, message: "The role grants nothing."},
		"nowhere": {
			plan:  plan{input: input{appState: appState{grants: []v1alpha1.Grant{{ClusterRole: "view"}}}}},
			ready: true, reason: v1alpha1.ReasonReady, message: "No namespace is in the scope yet.",
		},
	} {
		t.Run(name, func(t *testing.T) {
			object := &v1alpha1.AppRoleBinding{ObjectMeta: metav1.ObjectMeta{Generation: 7}}
			object.Spec.Mode, object.Spec.Subjects = test.mode, []v1alpha1.AppRoleSubject{{User: "jane"}}
			got := test.plan.ready(object, test.grant, test.natives)
			if (got.Status == metav1.ConditionTrue) != test.ready || got.Reason != test.reason || !strings.Contains(got.Message, test.message) || got.ObservedGeneration != 7 {
				t.Errorf("got %+v", got)
			}
		})
	}
}

// A condition holds a bounded text of one line, whatever the API server says.
func TestFailureMessageIsBounded(t *testing.T) {
	long := FailureMessage(errors.New("a\nb" + strings.Repeat("ü", 4000)))
	if len(long) > 2100 || !strings.HasPrefix(long, "a; b") || !strings.HasSuffix(long, "…") || strings.Contains(long, "\ufffd") {
		t.Errorf("%d bytes: %.20q", len(long), long)
	}
	failed := map[overlay.ID]error{}
	for i := range 9 {
		failed[nativeID(fmt.Sprintf("ns-%d", i), 0)] = fmt.Errorf("failure %d", i)
	}
	first := joinByID(failed).Error()
	for range 20 { // conditions must not change from run to run
		if again := joinByID(failed).Error(); again != first {
			t.Fatalf("%q, then %q", first, again)
		}
	}
	if !strings.HasPrefix(first, "failure 0\nfailure 1") || !strings.HasSuffix(first, "and 6 more") {
		t.Errorf("joined: %q", first)
	}
}

// An edit is told with what differed, a few differences at most, and with the manager that wrote last.
func TestDifferencesOfEdits(t *testing.T) {
	p := newPlan(baseInput(t, testMember("jane", true)))
	id, asItShouldBe := exists("1", "a", 0, "jane")
	if text := p.differences(id, asItShouldBe.object); text != "" {
		t.Errorf("nothing differs, and it says%s", text)
	}
	_, edited := exists("2", "a", 0, "a", "b", "c", "d", "e", "f")
	object := edited.object.(*rbacv1.RoleBinding)
	object.Labels, object.Finalizers = nil, []string{"example.com/hold"}
	object.OwnerReferences = []metav1.OwnerReference{{Kind: "ConfigMap", Name: "owner", UID: types.UID("1")}}
	text := p.differences(id, object)
	if !strings.HasPrefix(text, ": User n-a had been added, ") || !strings.HasSuffix(text, ", and 4 more") {
		t.Errorf("it says%s", text)
	}
	now, before := metav1.Now(), metav1.Unix(1, 0)
	for name, test := range map[string]struct {
		fields []metav1.ManagedFieldsEntry
		want   string
	}{
		"none":    {nil, unknownEditor},
		"only us": {[]metav1.ManagedFieldsEntry{{Manager: FieldOwner, Time: &now}}, unknownEditor},
		"the last": {[]metav1.ManagedFieldsEntry{
			{Manager: "kubectl", Time: &now}, {Manager: "helm", Time: &before}, {Manager: FieldOwner, Time: &now},
		}, `"kubectl"`},
		"a status is no edit": {[]metav1.ManagedFieldsEntry{{Manager: "kubectl", Time: &now, Subresource: "status"}}, unknownEditor},
	} {
		if got := editorOf(test.fields); got != test.want {
			t.Errorf("%s: %s, want %s", name, got, test.want)
		}
	}
}
