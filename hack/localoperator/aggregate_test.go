package localoperator_test

import (
	"strings"
	"testing"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/scim-operator/scim-operator/hack/localoperator"
)

// Without kube-controller-manager, the roles that people try first allow what they should: each takes in the one before.
func TestAggregateClusterRoles(t *testing.T) {
	c := startControlPlane(t)
	clientset, err := kubernetes.NewForConfig(c.Config)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time there is nothing to do
		if err := localoperator.AggregateClusterRoles(t.Context(), c.Config); err != nil {
			t.Fatal(err)
		}
	}
	for role, may := range map[string]map[string]bool{
		"view": {"get pods": true, "create pods": false, "create rolebindings": false},
		"edit": {"get pods": true, "create pods": true, "create rolebindings": false},
		// admin takes in edit, which takes in view.
		"admin": {"get pods": true, "create pods": true, "create rolebindings": true},
	} {
		if _, err := clientset.RbacV1().RoleBindings("default").Create(t.Context(), &rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: role},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
			Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: "the-" + role}},
		}, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		for what, want := range may {
			if got := allowed(t, clientset, "the-"+role, what, want); got != want {
				t.Errorf("%s may %s: %t, want %t", role, what, got, want)
			}
		}
	}
}

// allowed asks until the API server's own copy of the binding has come, and for a second of what it should not allow.
func allowed(t *testing.T, clientset kubernetes.Interface, user, what string, want bool) bool {
	t.Helper()
	verb, resource, _ := strings.Cut(what, " ")
	group := ""
	if resource == "rolebindings" {
		group = rbacv1.GroupName
	}
	patience := time.Second
	if want {
		patience = time.Minute
	}
	for begun := time.Now(); ; time.Sleep(25 * time.Millisecond) {
		review, err := clientset.AuthorizationV1().SubjectAccessReviews().Create(t.Context(), &authorizationv1.SubjectAccessReview{
			Spec: authorizationv1.SubjectAccessReviewSpec{User: user, ResourceAttributes: &authorizationv1.ResourceAttributes{
				Namespace: "default", Verb: verb, Group: group, Resource: resource,
			}},
		}, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if review.Status.Allowed || time.Since(begun) > patience {
			return review.Status.Allowed
		}
	}
}
