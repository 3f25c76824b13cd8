package harness

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// Roles that the quickstart's App grants, as Access has them.
const (
	NoRole    = ""
	Viewer    = "viewer"
	Developer = "developer"
)

// Access says which role a person has in which of the quickstart's namespaces; namespaces without one are left out.
type Access map[string]string

// Everywhere is one role in every namespace of the quickstart's scopes.
func Everywhere(role string) Access { return Access{"team-a": role, "team-b": role} }

// Nowhere is no access at all.
func Nowhere() Access { return Access{} }

func (a Access) String() string {
	var parts []string
	for _, namespace := range slices.Sorted(maps.Keys(a)) {
		parts = append(parts, a[namespace]+" in "+namespace)
	}
	if len(parts) == 0 {
		return "no access"
	}
	return strings.Join(parts, ", ")
}

// CanI asks the API server whether a user may do something: `kubectl auth can-i --as`. Errors are the API server's.
func (h *Harness) CanI(ctx context.Context, user, verb, resource, namespace string) (bool, error) {
	review, err := h.Clientset.AuthorizationV1().SubjectAccessReviews().Create(ctx, &authorizationv1.SubjectAccessReview{
		Spec: authorizationv1.SubjectAccessReviewSpec{
			User:               user,
			ResourceAttributes: &authorizationv1.ResourceAttributes{Verb: verb, Resource: resource, Namespace: namespace},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		return false, fmt.Errorf("asking whether %s can %s %s in %s: %w", user, verb, resource, namespace, err)
	}
	return review.Status.Allowed, nil
}

// AccessOf asks what a Kubernetes user may do in the quickstart's namespaces. Errors are the API server's.
func (h *Harness) AccessOf(ctx context.Context, user string) (Access, error) {
	access := Access{}
	for _, namespace := range []string{"team-a", "team-b"} {
		for _, role := range []struct{ name, verb string }{{Viewer, "list"}, {Developer, "create"}} {
			allowed, err := h.CanI(ctx, user, role.verb, "configmaps", namespace)
			if err != nil {
				return nil, err
			}
			if allowed {
				access[namespace] = role.name
			}
		}
	}
	return access, nil
}

// AccessNow fails the test unless the user has that access at this very moment.
func (h *Harness) AccessNow(t testing.TB, user string, want Access) {
	t.Helper()
	got, err := h.AccessOf(t.Context(), user)
	if err != nil {
		t.Fatal(err)
	}
	if !maps.Equal(got, want) {
		t.Fatalf("%s has %s, want %s", user, got, want)
	}
}

// grantLimit finds what never comes, on a machine that is busy with other work, too: the product aims at a second, benchmarks measure
// it, and logs tell how long it took.
const grantLimit = time.Minute

// AccessSoon polls until the user has that access, and logs how long it took.
func (h *Harness) AccessSoon(t testing.TB, user string, want Access) {
	t.Helper()
	took := Eventually(t, grantLimit, "access of "+user, func(ctx context.Context) error {
		got, err := h.AccessOf(ctx, user)
		if err == nil && !maps.Equal(got, want) {
			err = fmt.Errorf("has %s, want %s", got, want)
		}
		return err
	})
	t.Logf("%s has %s after %s", user, want, took.Round(time.Millisecond))
}

// UnboundNow checks that no native binding names a Kubernetes user, and that AppRoleBindings cease to within a few seconds.
func (h *Harness) UnboundNow(t testing.TB, user string) {
	t.Helper()
	for _, binding := range h.BindingsOf(t, user) {
		if !strings.HasPrefix(binding, "AppRoleBinding ") {
			t.Errorf("%s is still named by %s", user, binding)
		}
	}
	Eventually(t, grantLimit, "no AppRoleBinding of "+user, func(context.Context) error {
		if bindings := h.BindingsOf(t, user); len(bindings) != 0 {
			return fmt.Errorf("still named by %q", bindings)
		}
		return nil
	})
}

// BindingsOf lists every binding that names a Kubernetes user, native ones and AppRoleBindings, as "Kind namespace/name".
func (h *Harness) BindingsOf(t testing.TB, user string) []string {
	t.Helper()
	var found []string
	roleBindings, clusterRoleBindings, appRoleBindings := &rbacv1.RoleBindingList{}, &rbacv1.ClusterRoleBindingList{}, &v1alpha1.AppRoleBindingList{}
	for _, err := range []error{
		h.Env.Client.List(t.Context(), roleBindings),
		h.Env.Client.List(t.Context(), clusterRoleBindings),
		h.Env.Client.List(t.Context(), appRoleBindings),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	names := func(subject rbacv1.Subject) bool { return subject.Kind == rbacv1.UserKind && subject.Name == user }
	for _, binding := range roleBindings.Items {
		if slices.ContainsFunc(binding.Subjects, names) {
			found = append(found, "RoleBinding "+binding.Namespace+"/"+binding.Name)
		}
	}
	for _, binding := range clusterRoleBindings.Items {
		if slices.ContainsFunc(binding.Subjects, names) {
			found = append(found, "ClusterRoleBinding "+binding.Name)
		}
	}
	for _, binding := range appRoleBindings.Items {
		if slices.ContainsFunc(binding.Spec.Subjects, func(s v1alpha1.AppRoleSubject) bool { return s.Name == user }) {
			found = append(found, "AppRoleBinding "+binding.Namespace+"/"+binding.Name)
		}
	}
	return found
}
