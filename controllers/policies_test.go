package controllers_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/controllers"
	"github.com/scim-operator/scim-operator/controllers/policycheck"
	"github.com/scim-operator/scim-operator/hack/localoperator"
)

// weakenPolicies takes a binding away and has another only audit. What it returns puts both back, and waits until they are in force.
func weakenPolicies(t *testing.T) (restore func()) {
	t.Helper()
	const deleted, audited = "scim-operator-oauth-apps", "scim-operator-token-secrets"
	gone, weak := &admissionv1.ValidatingAdmissionPolicyBinding{}, &admissionv1.ValidatingAdmissionPolicyBinding{}
	for name, binding := range map[string]*admissionv1.ValidatingAdmissionPolicyBinding{deleted: gone, audited: weak} {
		if err := env.Client.Get(t.Context(), client.ObjectKey{Name: name}, binding); err != nil {
			t.Fatal(err)
		}
	}
	actions := func(of ...admissionv1.ValidationAction) error {
		before := client.MergeFrom(weak.DeepCopy())
		weak.Spec.ValidationActions = of
		return env.Client.Patch(t.Context(), weak, before)
	}
	restore = sync.OnceFunc(func() {
		gone.ObjectMeta = metav1.ObjectMeta{Name: deleted, Labels: gone.Labels}
		if err := env.Client.Create(t.Context(), gone); err != nil {
			t.Error(err)
		}
		if err := actions(admissionv1.Deny); err != nil {
			t.Error(err)
		}
		if err := localoperator.WaitForPolicies(t.Context(), env.Config); err != nil {
			t.Error(err)
		}
	})
	if err := env.Client.Delete(t.Context(), gone); err != nil {
		t.Fatal(err)
	}
	if err := actions(admissionv1.Audit); err != nil {
		t.Fatal(err)
	}
	return restore
}

// Apps say that policies are missing for as long as they are, an Event names them, and the controller grants and revokes all the same.
func TestMissingPoliciesAreTold(t *testing.T) {
	w := newStoppedWorld(t, nil)
	begun := time.Now().Add(-time.Minute)
	restore := weakenPolicies(t)
	defer restore()
	w.start()
	condition := w.eventuallyCondition(w.app, v1alpha1.ConditionPoliciesInPlace, metav1.ConditionFalse, "PoliciesMissing")
	if !strings.HasPrefix(condition.Message, "2 of the ") || strings.Contains(condition.Message, "scim-operator-") {
		t.Errorf("the App says %q: it counts what is missing, and names nothing to tenants", condition.Message)
	}
	w.eventually(func() string {
		list := &eventsv1.EventList{}
		if err := env.Client.List(w.ctx, list, client.InNamespace(controllers.DefaultOperatorNamespace)); err != nil {
			return err.Error()
		}
		for i := range list.Items {
			of := &list.Items[i]
			if of.Reason == "AdmissionPoliciesMissing" && of.Regarding.Name == "scim-operator-controller" && of.EventTime.After(begun) &&
				strings.Contains(of.Note, "ValidatingAdmissionPolicyBinding scim-operator-oauth-apps is missing") &&
				strings.Contains(of.Note, "scim-operator-token-secrets is changed (spec.validationActions)") {
				return ""
			}
		}
		return fmt.Sprintf("none of %d Events names both bindings", len(list.Items))
	})
	user := w.provision(w.newUser("granted@example.com", `{"role":"viewer"}`))
	w.eventuallyGranted(user)
	w.stop()
	restore()
	w.start()
	w.eventually(func() string {
		if err := env.Client.Get(w.ctx, client.ObjectKeyFromObject(w.app), w.app); err != nil {
			return err.Error()
		}
		if meta.FindStatusCondition(w.app.Status.Conditions, v1alpha1.ConditionPoliciesInPlace) != nil {
			return "the App still says that policies are missing"
		}
		return ""
	})
}

// A look finds what is taken away and put back while the process runs, with the controller's own rights.
func TestPoliciesAreLookedAtAgain(t *testing.T) {
	w := newStoppedWorld(t, nil)
	reads, err := client.New(w.config, client.Options{Scheme: env.Scheme})
	if err != nil {
		t.Fatal(err)
	}
	checker := policycheck.NewPolicies()
	checker.Client, checker.Leads, checker.Log, checker.Every, checker.Grace = reads, func() bool { return false }, ctrl.Log, 20*time.Millisecond, -1
	next := looksOf(w, checker)
	next("0 of ")
	restore := weakenPolicies(t)
	defer restore()
	next("2 of ")
	restore()
	next("0 of ")
}

// looksOf starts a checker. What it returns waits for a result that begins with a text.
func looksOf(w *world, checker *policycheck.Checker) (next func(want string)) {
	results := make(chan string, 100)
	checker.OnChange(func() {
		findings, all, _ := checker.Result()
		results <- fmt.Sprintf("%d of %d: %v", len(findings), all, findings)
	})
	go func() { _ = checker.Start(w.ctx) }()
	return func(want string) {
		w.Helper()
		for end := time.After(deadline); ; {
			select {
			case got := <-results:
				if strings.HasPrefix(got, want) {
					return
				}
				w.Log("on the way:", got)
			case <-end:
				w.Fatalf("no look found %s", want)
			}
		}
	}
}

// ageDefinition has a CustomResourceDefinition of the cluster lack a field, as that of an earlier version does. What it returns puts it back.
func ageDefinition(t *testing.T) (restore func()) {
	t.Helper()
	const name = "membershards.scim-operator.io"
	definition := &unstructured.Unstructured{}
	definition.SetAPIVersion("apiextensions.k8s.io/v1")
	definition.SetKind("CustomResourceDefinition")
	read := func() {
		if err := env.Client.Get(t.Context(), client.ObjectKey{Name: name}, definition); err != nil {
			t.Fatal(err)
		}
	}
	patch := func(operations string) {
		if err := env.Client.Patch(t.Context(), definition.DeepCopy(), client.RawPatch(types.JSONPatchType, []byte(operations))); err != nil {
			t.Fatal(err)
		}
	}
	read()
	versions, _, err := unstructured.NestedSlice(definition.Object, "spec", "versions")
	if err != nil || len(versions) != 1 {
		t.Fatalf("versions: %v, %v", versions, err)
	}
	columns, err := json.Marshal(versions[0].(map[string]any)["additionalPrinterColumns"])
	if err != nil {
		t.Fatal(err)
	}
	patch(`[{"op": "remove", "path": "/spec/versions/0/additionalPrinterColumns/0"}]`)
	return sync.OnceFunc(func() {
		patch(`[{"op": "replace", "path": "/spec/versions/0/additionalPrinterColumns", "value": ` + string(columns) + `}]`)
	})
}

// CustomResourceDefinitions of another version are found with the controller's own rights, and Apps tell of them as long as they last.
func TestDefinitionsAreLookedAt(t *testing.T) {
	w := newStoppedWorld(t, nil)
	reads, err := client.New(w.config, client.Options{Scheme: env.Scheme})
	if err != nil {
		t.Fatal(err)
	}
	checker := policycheck.NewDefinitions()
	checker.Client, checker.Leads, checker.Log, checker.Every, checker.Grace = reads, func() bool { return false }, ctrl.Log, 20*time.Millisecond, -1
	next := looksOf(w, checker)
	next("0 of 9: ")
	restore := ageDefinition(t)
	defer restore()
	next("1 of 9: [CustomResourceDefinition membershards.scim-operator.io is changed (spec.versions.v1alpha1.additionalPrinterColumns)]")
	w.start()
	condition := w.eventuallyCondition(w.app, v1alpha1.ConditionDefinitionsInPlace, metav1.ConditionFalse, "DefinitionsDiffer")
	if !strings.HasPrefix(condition.Message, "1 of the 9 ") || strings.Contains(condition.Message, "membershards") {
		t.Errorf("the App says %q: it counts what differs, and names nothing to tenants", condition.Message)
	}
	user := w.provision(w.newUser("granted@example.com", `{"role":"viewer"}`))
	w.eventuallyGranted(user)
	w.stop()
	restore()
	next("0 of 9: ")
	w.start()
	w.eventually(func() string {
		if err := env.Client.Get(w.ctx, client.ObjectKeyFromObject(w.app), w.app); err != nil {
			return err.Error()
		}
		if meta.FindStatusCondition(w.app.Status.Conditions, v1alpha1.ConditionDefinitionsInPlace) != nil {
			return "the App still says that definitions differ"
		}
		return ""
	})
}
