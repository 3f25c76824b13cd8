package login_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/token"
	okta "github.com/scim-operator/scim-operator/test/okta/client"
	"github.com/scim-operator/scim-operator/test/okta/harness"
)

const (
	patience = time.Minute
	role     = "login-configmaps"
)

// login returns a client with an ID token of these claims.
func login(t *testing.T, claims map[string]any) kubernetes.Interface {
	t.Helper()
	text, err := running.issuer.Token(claims)
	if err != nil {
		t.Fatal(err)
	}
	anonymous := rest.AnonymousClientConfig(running.Config)
	anonymous.BearerToken = text
	client, err := kubernetes.NewForConfig(anonymous)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// whoAmI is what kubectl auth whoami shows.
func whoAmI(t *testing.T, client kubernetes.Interface) (authenticationv1.UserInfo, error) {
	t.Helper()
	review, err := client.AuthenticationV1().SelfSubjectReviews().Create(t.Context(), &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	if err != nil {
		return authenticationv1.UserInfo{}, err
	}
	return review.Status.UserInfo, nil
}

func reads(ctx context.Context, client kubernetes.Interface, namespace string) error {
	_, err := client.CoreV1().ConfigMaps(namespace).List(ctx, metav1.ListOptions{})
	return err
}

func forbidden(what string, err error) error {
	if !apierrors.IsForbidden(err) {
		return fmt.Errorf("%s: %w", what, errors.Join(errors.New("is not refused"), err))
	}
	return nil
}

// newApp makes an App with one role, which reads ConfigMaps in its namespace, with the names that the sample expects.
func newApp(t *testing.T) (namespace string, scim *okta.Client) {
	t.Helper()
	namespace = running.Namespace(t, nil)
	text, err := token.New()
	if err != nil {
		t.Fatal(err)
	}
	binder := metav1.ObjectMeta{Name: role + "-bind"}
	must(t, running.Client.Create(t.Context(), &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: role}, Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{""}, Resources: []string{"configmaps"}, Verbs: []string{"list"}},
	}}))
	must(t, running.Client.Create(t.Context(), &rbacv1.ClusterRole{ObjectMeta: binder, Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{rbacv1.GroupName}, Resources: []string{"clusterroles"}, ResourceNames: []string{role}, Verbs: []string{"bind"}},
	}}))
	must(t, running.Client.Create(t.Context(), &rbacv1.ClusterRoleBinding{
		ObjectMeta: binder, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: binder.Name},
		Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: "scim-operator-system", Name: "scim-operator-controller"}},
	}))
	must(t, running.Client.Create(t.Context(), &v1alpha1.App{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "staff"},
		Spec: v1alpha1.AppSpec{
			RoleAssignment: v1alpha1.RoleAssignment{Default: []string{"reader"}},
			Roles:          []v1alpha1.Role{{Name: "reader", Grants: []v1alpha1.Grant{{ClusterRole: role}}}},
		},
	}))
	must(t, running.CreateToken(t.Context(), &v1alpha1.ScimToken{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "staff"},
		Spec:       v1alpha1.ScimTokenSpec{App: "staff", Digest: token.Digest(text)},
	}))
	scim = okta.New(running.server.URL+"/scim/v2", "Bearer "+text, okta.Template)
	t.Cleanup(scim.Close)
	harness.Eventually(t, patience, "the token", func(ctx context.Context) error {
		_, err := scim.TestConnection(ctx, false)
		return err
	})
	return namespace, scim
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A user that SCIM provisioned logs in by a token of the identity provider, and has the role, in its namespace alone, until
// the deactivation was answered. The token is good for an hour more and opens nothing.
func TestLogin(t *testing.T) {
	namespace, scim := newApp(t)
	assignment := okta.Assign(okta.NewProfile("jane@example.com"))
	_, err := scim.Create(t.Context(), assignment)
	must(t, err)

	jane := login(t, map[string]any{"preferred_username": "jane@example.com", "email": "j@example.com", "groups": []string{"system:masters", "Staff"}})
	info, err := whoAmI(t, jane)
	must(t, err)
	if info.Username != "okta:jane@example.com" {
		t.Errorf("the API server calls her %q", info.Username)
	}
	for _, group := range info.Groups {
		if group != "system:authenticated" {
			t.Errorf("the token put her into group %q", group)
		}
	}
	harness.Eventually(t, patience, "the role", func(ctx context.Context) error { return reads(ctx, jane, namespace) })
	must(t, forbidden("another namespace", reads(t.Context(), jane, "default")))
	_, err = jane.CoreV1().Secrets(namespace).List(t.Context(), metav1.ListOptions{})
	must(t, forbidden("another resource", err))

	// What does not agree byte by byte is another name.
	must(t, forbidden("another letter case", reads(t.Context(), login(t, map[string]any{"preferred_username": "Jane@example.com"}), namespace)))

	_, err = scim.Deactivate(t.Context(), assignment)
	must(t, err)
	must(t, forbidden("after the answer to the deactivation", reads(t.Context(), jane, namespace)))
	if _, err := whoAmI(t, jane); err != nil {
		t.Errorf("the token itself: %v", err)
	}
}

// What the sample refuses at the door.
func TestRefusedTokens(t *testing.T) {
	for name, claims := range map[string]map[string]any{
		"another audience": {"preferred_username": "jane@example.com", "aud": "other"},
		"another issuer":   {"preferred_username": "jane@example.com", "iss": "https://example.com"},
		"expired":          {"preferred_username": "jane@example.com", "exp": time.Now().Add(-time.Hour).Unix()},
		"no username":      {"email": "jane@example.com"},
	} {
		if info, err := whoAmI(t, login(t, claims)); !apierrors.IsUnauthorized(err) {
			t.Errorf("%s: %q, %v", name, info.Username, err)
		}
	}
}
