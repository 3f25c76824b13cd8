package controllers_test

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	reviewv1 "k8s.io/api/admission/v1"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// refuseByPolicy has a policy refuse operations on RoleBindings of a namespace, with the code 422, until allow is called. The namespace
// has one.
func (w *world) refuseByPolicy(namespace string, operations ...admissionv1.OperationType) (allow func()) {
	w.Helper()
	return w.refuse(rbacv1.GroupName, "v1", "rolebindings", operations, fmt.Sprintf("request.namespace == %q", namespace), w.changeBinding(namespace))
}

// changeBinding tries to change a RoleBinding of a namespace, which has one.
func (w *world) changeBinding(namespace string) func() error {
	return func() error {
		var list rbacv1.RoleBindingList
		if err := env.Client.List(w.ctx, &list, client.InNamespace(namespace)); err != nil || len(list.Items) == 0 {
			w.Fatalf("%d RoleBindings in %s: %v", len(list.Items), namespace, err)
		}
		list.Items[0].Subjects = append(list.Items[0].Subjects, userNamed("x"))
		return env.Client.Update(w.ctx, &list.Items[0], client.DryRunAll)
	}
}

// refuseByWebhook is refuseByPolicy by a webhook that gives no code: the API server makes it 400.
func (w *world) refuseByWebhook(namespace string, operations ...admissionv1.OperationType) (allow func()) {
	w.Helper()
	server := httptest.NewTLSServer(http.HandlerFunc(func(answer http.ResponseWriter, request *http.Request) {
		var review reviewv1.AdmissionReview
		if err := json.NewDecoder(request.Body).Decode(&review); err != nil || review.Request == nil {
			http.Error(answer, "no review", http.StatusBadRequest)
			return
		}
		review.Response = &reviewv1.AdmissionResponse{UID: review.Request.UID, Result: &metav1.Status{Message: "not now"}}
		review.Request = nil
		_ = json.NewEncoder(answer).Encode(review)
	}))
	w.Cleanup(server.Close)
	url, none := server.URL, admissionv1.SideEffectClassNone
	configuration := &admissionv1.ValidatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: "refuse-" + namespace}, Webhooks: []admissionv1.ValidatingWebhook{{
		Name: "refuse.example.com", AdmissionReviewVersions: []string{"v1"}, SideEffects: &none,
		ClientConfig: admissionv1.WebhookClientConfig{URL: &url, CABundle: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})},
		Rules: []admissionv1.RuleWithOperations{{
			Operations: operations,
			Rule:       admissionv1.Rule{APIGroups: []string{rbacv1.GroupName}, APIVersions: []string{"v1"}, Resources: []string{"rolebindings"}},
		}},
		NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: namespace}},
	}}}
	w.create(configuration)
	allow = func() { _ = env.Client.Delete(context.WithoutCancel(w.ctx), configuration) }
	w.Cleanup(allow)
	w.eventually(func() string {
		err := w.changeBinding(namespace)()
		return unless(err != nil && strings.Contains(err.Error(), "not now"), "the webhook is in force")
	})
	return allow
}

// Where the cluster refuses changes of a binding, a leaver is not kept in it: it goes as a whole, and another one takes its place.
func TestRefusedChangeKeepsNoAccess(t *testing.T) {
	for title, refuse := range map[string]func(*world, string, ...admissionv1.OperationType) func(){
		"by a policy": (*world).refuseByPolicy, "by a webhook": (*world).refuseByWebhook,
	} {
		t.Run(title, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, nil)
			jane, joe := w.provision(w.newUser("jane", "")), w.provision(w.newUser("joe", ""))
			w.eventuallyGranted(jane)
			w.eventuallyGranted(joe)
			refuse(w, w.namespace, admissionv1.Update)
			update(w, jane, deactivate)
			w.eventuallyCondition(jane, v1alpha1.ConditionAccessRevoked, metav1.ConditionTrue, v1alpha1.ReasonRevoked)
			if w.can("okta:jane", "get", w.namespace) {
				t.Error("AccessRevoked is True, and the access is there")
			}
			w.eventuallyCan("okta:joe", "get", w.namespace, true)
		})
	}
}

// A removal that the cluster refuses in one namespace keeps neither the leaver's access elsewhere nor newcomers waiting, and the status of
// each says what is so. It is made up for.
func TestRefusedRemovalKeepsNoOthersWaiting(t *testing.T) {
	closed := env.Namespace(t, nil)
	w := newWorld(t, nil)
	update(w, w.app, func(app *v1alpha1.App) {
		app.Spec.Scopes.List = []v1alpha1.Scope{{Name: "both", Namespaces: []string{closed, w.namespace}}}
	})
	jane := w.provision(w.newUser("jane", ""))
	w.eventuallyGranted(jane)
	w.eventuallyCan("okta:jane", "get", closed, true)
	allow := w.refuseByPolicy(closed, admissionv1.Update, admissionv1.Delete)
	update(w, jane, deactivate)
	told := w.eventuallyCondition(jane, v1alpha1.ConditionAccessRevoked, metav1.ConditionFalse, v1alpha1.ReasonBindingFailed)
	if !strings.Contains(told.Message, "not now") || !strings.Contains(told.Message, closed) {
		t.Errorf("told %q", told.Message)
	}
	if w.can("okta:jane", "get", w.namespace) {
		t.Error("the access is there in the other namespace")
	}
	joe := w.provision(w.newUser("joe", ""))
	w.eventuallyCan("okta:joe", "get", w.namespace, true)
	told = w.eventuallyCondition(joe, v1alpha1.ConditionAccessGranted, metav1.ConditionFalse, v1alpha1.ReasonBindingFailed)
	if !strings.Contains(told.Message, "not now") {
		t.Errorf("told %q", told.Message)
	}
	if roles := joe.Status.Roles; len(roles) != 1 || roles[0].Bound != v1alpha1.BoundPartly {
		t.Errorf("roles %+v", roles)
	}
	for _, binding := range w.bindings() {
		if len(binding.Spec.Subjects) != 2 {
			t.Errorf("native bindings name both, and the AppRoleBinding %+v", binding.Spec.Subjects)
		}
	}
	allow()
	w.eventuallyCondition(jane, v1alpha1.ConditionAccessRevoked, metav1.ConditionTrue, v1alpha1.ReasonRevoked)
	if w.can("okta:jane", "get", closed) {
		t.Error("AccessRevoked is True, and the access is there")
	}
	w.eventuallyGranted(joe)
	w.eventuallyCan("okta:joe", "get", closed, true)
	w.eventually(func() string {
		for _, binding := range w.bindings() {
			if subjects := binding.Spec.Subjects; len(subjects) != 1 || subjects[0].User != joe.Name {
				return fmt.Sprintf("the AppRoleBinding names %+v", subjects)
			}
		}
		return ""
	})
}
