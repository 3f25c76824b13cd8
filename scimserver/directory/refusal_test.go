package directory

import (
	"encoding/json"
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// What others' admission refuses is no fault of the client, whatever code it answers with: a client that is told 400 or 404 drops a
// deactivation for good. The policies, the webhooks and the quota are real, and so is the API server.
func TestRefusalsByAdmission(t *testing.T) {
	policy := func(name string, reason metav1.StatusReason) func(t *testing.T, namespace string) {
		return func(t *testing.T, namespace string) { refuseByPolicy(t, name, namespace, reason) }
	}
	webhook := func(name string, code int32, reason metav1.StatusReason) func(t *testing.T, namespace string) {
		return func(t *testing.T, namespace string) { refuseByWebhook(t, name, namespace, code, reason) }
	}
	for title, test := range map[string]struct {
		refuse func(t *testing.T, namespace string)
		// says is in the detail; createOnly: what exists may be changed.
		says       []string
		createOnly bool
	}{
		"a policy":                             {refuse: policy("plain", ""), says: []string{`admission policy "plain`, "no changes on Sundays"}},
		"a policy that answers 403":            {refuse: policy("forbidden", metav1.StatusReasonForbidden), says: []string{`admission policy "forbidden`, "no changes on Sundays"}},
		"a policy that answers 413":            {refuse: policy("large", metav1.StatusReasonRequestEntityTooLarge), says: []string{`admission policy "large`, "no changes on Sundays"}},
		"a webhook without a code":             {refuse: webhook("none.example.com", 0, ""), says: []string{`webhook "none.example.com"`, "not before noon"}},
		"a webhook that answers 403":           {refuse: webhook("forbidden.example.com", 403, metav1.StatusReasonForbidden), says: []string{`webhook "forbidden.example.com"`}},
		"a webhook that answers 404":           {refuse: webhook("missing.example.com", 404, metav1.StatusReasonNotFound), says: []string{`webhook "missing.example.com"`}},
		"a webhook that answers 409":           {refuse: webhook("conflict.example.com", 409, metav1.StatusReasonConflict), says: []string{`webhook "conflict.example.com"`}},
		"a webhook that says it exists":        {refuse: webhook("exists.example.com", 409, metav1.StatusReasonAlreadyExists), says: []string{`webhook "exists.example.com"`}},
		"a webhook that answers 422":           {refuse: webhook("invalid.example.com", 422, metav1.StatusReasonInvalid), says: []string{`webhook "invalid.example.com"`}},
		"a webhook that cannot be reached":     {refuse: refuseByAbsence, says: []string{`webhook "absent.example.com"`}},
		"a quota":                              {refuse: refuseByQuota, createOnly: true, says: []string{`ResourceQuota "few"`, "count/"}},
		"a namespace that is about to be gone": {refuse: refuseByTermination, createOnly: true, says: []string{"being deleted"}},
	} {
		t.Run(title, func(t *testing.T) {
			t.Parallel()
			app := newApp(t)
			d := replica(t, app)
			user := mustCreate(t, d, app, person("jane@example.com"))
			group, err := d.Groups.Create(t.Context(), app, team("Staff"))
			if err != nil {
				t.Fatal(err)
			}
			test.refuse(t, app.Namespace)
			awaitRefusal(t, user, test.createOnly)
			writes := map[string]func() error{
				"create a user": func() error {
					_, _, err := d.Users.Create(t.Context(), app, person("joe@example.com"))
					return err
				},
				"create a group": func() error {
					_, err := d.Groups.Create(t.Context(), app, team("More"))
					return err
				},
			}
			if !test.createOnly {
				writes["deactivate"] = func() error {
					_, err := d.Users.Update(t.Context(), app, user.Name, setting("active", false))
					return err
				}
				writes["rename"] = func() error {
					_, err := d.Users.Update(t.Context(), app, user.Name, setting("userName", "june@example.com"))
					return err
				}
				writes["rename a group"] = func() error {
					_, _, err := d.Groups.Update(t.Context(), app, group.Name, setting("displayName", "Other"), MembersChange{})
					return err
				}
			}
			for what, write := range writes {
				err := write()
				var trouble *UnavailableError
				if !errors.As(err, &trouble) || trouble.RetryAfter < retrySoon {
					t.Errorf("%s: %v", what, err)
					continue
				}
				for _, text := range test.says {
					if !strings.Contains(trouble.Detail, text) {
						t.Errorf("%s: %q does not say %q", what, trouble.Detail, text)
					}
				}
			}
		})
	}
}

// awaitRefusal returns once admission refuses: policies and webhooks reach the API server by a watch.
func awaitRefusal(t *testing.T, user *v1alpha1.User, creates bool) {
	t.Helper()
	probe := user.DeepCopy()
	probe.Labels = map[string]string{"probe": "x"}
	if creates {
		probe.ObjectMeta = metav1.ObjectMeta{Namespace: user.Namespace, Name: "probe"}
	}
	eventually(t, "admission refuses", func() bool {
		if creates {
			return env.Client.Create(t.Context(), probe.DeepCopy(), client.DryRunAll) != nil
		}
		return env.Client.Update(t.Context(), probe.DeepCopy(), client.DryRunAll) != nil
	})
}

// ofNamespace selects a namespace.
func ofNamespace(namespace string) *metav1.LabelSelector {
	return &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: namespace}}
}

func createForTest(t *testing.T, object client.Object) {
	t.Helper()
	if err := env.Client.Create(t.Context(), object); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = env.Client.Delete(t.Context(), object) })
}

var directoryRule = admissionregistrationv1.Rule{
	APIGroups: []string{v1alpha1.GroupName}, APIVersions: []string{"*"}, Resources: []string{"users", "groups"},
}

func refuseByPolicy(t *testing.T, name, namespace string, reason metav1.StatusReason) {
	name += "-" + namespace
	validation := admissionregistrationv1.Validation{Expression: "false", Message: "no changes on Sundays"}
	if reason != "" {
		validation.Reason = &reason
	}
	createForTest(t, &admissionregistrationv1.ValidatingAdmissionPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: admissionregistrationv1.ValidatingAdmissionPolicySpec{
			MatchConstraints: &admissionregistrationv1.MatchResources{ResourceRules: []admissionregistrationv1.NamedRuleWithOperations{{
				RuleWithOperations: admissionregistrationv1.RuleWithOperations{Operations: []admissionregistrationv1.OperationType{"*"}, Rule: directoryRule},
			}}},
			Validations: []admissionregistrationv1.Validation{validation},
		},
	})
	createForTest(t, &admissionregistrationv1.ValidatingAdmissionPolicyBinding{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: admissionregistrationv1.ValidatingAdmissionPolicyBindingSpec{
			PolicyName: name, ValidationActions: []admissionregistrationv1.ValidationAction{admissionregistrationv1.Deny},
			MatchResources: &admissionregistrationv1.MatchResources{NamespaceSelector: ofNamespace(namespace)},
		},
	})
}

func refuseByWebhook(t *testing.T, name, namespace string, code int32, reason metav1.StatusReason) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var review admissionv1.AdmissionReview
		if err := json.NewDecoder(r.Body).Decode(&review); err != nil {
			t.Errorf("decode a review: %v", err)
			return
		}
		review.Response = &admissionv1.AdmissionResponse{
			UID: review.Request.UID, Result: &metav1.Status{Code: code, Reason: reason, Message: "not before noon"},
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(review)
	}))
	t.Cleanup(server.Close)
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	callWebhook(t, name, namespace, server.URL, ca)
}

func refuseByAbsence(t *testing.T, namespace string) {
	server := httptest.NewTLSServer(http.NotFoundHandler())
	url := server.URL
	server.Close()
	callWebhook(t, "absent.example.com", namespace, url, nil)
}

func callWebhook(t *testing.T, name, namespace, url string, ca []byte) {
	createForTest(t, &admissionregistrationv1.ValidatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Webhooks: []admissionregistrationv1.ValidatingWebhook{{
			Name: name, ClientConfig: admissionregistrationv1.WebhookClientConfig{URL: &url, CABundle: ca},
			Rules:             []admissionregistrationv1.RuleWithOperations{{Operations: []admissionregistrationv1.OperationType{"*"}, Rule: directoryRule}},
			NamespaceSelector: ofNamespace(namespace), SideEffects: ptr.To(admissionregistrationv1.SideEffectClassNone),
			AdmissionReviewVersions: []string{"v1"}, TimeoutSeconds: ptr.To[int32](5),
		}},
	})
}

// refuseByQuota makes a quota that is used up. No controller runs that would write its status, so that this does.
func refuseByQuota(t *testing.T, namespace string) {
	hard := corev1.ResourceList{}
	for _, name := range []corev1.ResourceName{"users", "groups"} {
		hard["count/"+name+"."+v1alpha1.GroupName] = resource.MustParse("1")
	}
	quota := &corev1.ResourceQuota{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "few"}, Spec: corev1.ResourceQuotaSpec{Hard: hard},
	}
	createForTest(t, quota)
	quota.Status = corev1.ResourceQuotaStatus{Hard: hard, Used: hard}
	if err := env.Client.Status().Update(t.Context(), quota); err != nil {
		t.Fatal(err)
	}
}

func refuseByTermination(t *testing.T, namespace string) {
	if err := env.Client.Delete(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}); err != nil {
		t.Fatal(err)
	}
}
