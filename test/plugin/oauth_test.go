package plugin_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"net/http"
	"testing"

	"github.com/go-jose/go-jose/v4"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/token"
	okta "github.com/scim-operator/scim-operator/test/okta/client"
	"github.com/scim-operator/scim-operator/test/okta/harness"
)

// A client's request is listed, approved by an administrator that may bind what the App grants and by no other, and ended.
func TestOAuthFromRequestToEnd(t *testing.T) {
	secret, err := token.New()
	must(t, err)
	app := newApp(t, func(spec *v1alpha1.AppSpec) {
		spec.ExternalURL = h.Server.URL
		spec.OAuth = &v1alpha1.OAuth{
			ClientID: "okta", RedirectURIs: []string{"https://okta.example.com/callback"},
			ClientSecret: v1alpha1.OAuthClientSecret{Name: "client", Digest: token.Digest(secret)},
		}
	})
	must(t, h.Env.Client.Create(t.Context(), &v1alpha1.ScimToken{
		ObjectMeta: metav1.ObjectMeta{Namespace: app.Namespace, Name: "client"},
		Spec:       v1alpha1.ScimTokenSpec{App: app.Name, Type: v1alpha1.TokenTypeClientSecret, Digest: token.Digest(secret)},
	}))
	issuer := h.Server.URL + "/apps/" + app.Namespace + "/" + app.Name
	player := okta.NewOAuth(issuer, "okta", secret, "https://okta.example.com/callback")
	browser, err := player.NewBrowser()
	must(t, err)
	address, code, err := player.Begin(t.Context(), browser, nil)
	must(t, err)

	a := admin(t, app.Namespace)
	a.scim("oauth", "list").expect(0, code, app.Name, "Pending", "okta.example.com", "127.0.0.1")
	a.scim("oauth", "list", "-A", "-o", "name").expect(0, "oauthgrant.scim-operator.io/"+app.Name)
	a.scim("oauth", "approve", "BBBB-BBBB").expect(2, "no request has the code")
	accountWith(t, app.Namespace, "olivia", "scim-operator-admin").scim("oauth", "approve", code).expect(2, "bind")
	accountWith(t, app.Namespace, "vera", "view").scim("oauth", "approve", code).expect(3, "oauthgrants")
	a.scim("oauth", "approve", code).expect(0, "approved by admin")
	a.scim("oauth", "approve", code).expect(2, "waits for no approval")

	authorization, err := player.Return(t.Context(), browser, address, issuer)
	must(t, err)
	var tokens *okta.Tokens
	harness.Eventually(t, limit, "the client's secret", func(ctx context.Context) error {
		if tokens, err = player.Redeem(ctx, authorization, nil); err == nil && tokens.Error == "invalid_client" {
			return errors.New("the secret is not known yet")
		}
		return err
	})
	if tokens.Status != http.StatusOK {
		t.Fatalf("the token endpoint answered %d %s", tokens.Status, tokens.Text)
	}
	if users, _ := opens(t, app, tokens.Access); users != http.StatusOK {
		t.Errorf("the token is answered %d", users)
	}
	a.scim("oauth", "list").expect(0, code, "Connected")
	denier := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "test-oauth-denier"}, Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{v1alpha1.GroupVersion.Group}, Resources: []string{"oauthgrants"}, Verbs: []string{"list", "patch"}},
	}}
	must(t, h.Env.Client.Create(t.Context(), denier))
	accountWith(t, app.Namespace, "dora", denier.Name).scim("oauth", "deny", code).expect(0, "denied by dora")
	a.scim("oauth", "deny", code).expect(2, "was denied before")
	harness.Eventually(t, limit, "the end of the connection", func(context.Context) error {
		if users, _ := opens(t, app, tokens.Access); users != http.StatusUnauthorized {
			return errors.New("it still opens the App")
		}
		return nil
	})
	grants := &v1alpha1.OAuthGrantList{}
	must(t, h.Env.Client.List(t.Context(), grants, client.InNamespace(app.Namespace)))
	if len(grants.Items) != 1 || grants.Items[0].Spec.DecidedBy != "dora" {
		t.Errorf("the grants are %+v", grants.Items)
	}
}

// A machine client is listed beside them. The App decides about it, and not a person with its code.
func TestOAuthOfAMachineClient(t *testing.T) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	listed, err := jose.JSONWebKey{Key: public}.MarshalJSON()
	must(t, err)
	app := newApp(t, func(spec *v1alpha1.AppSpec) {
		spec.ExternalURL = h.Server.URL
		spec.OAuth = &v1alpha1.OAuth{MachineClients: []v1alpha1.MachineClient{{ClientID: "hr", Keys: []string{string(listed)}}}}
	})
	machine := &okta.Machine{Issuer: h.Server.URL + "/apps/" + app.Namespace + "/" + app.Name, ClientID: "hr", Key: private, Algorithm: jose.EdDSA}
	tokens, err := machine.Token(t.Context(), nil)
	must(t, err)
	if users, _ := opens(t, app, tokens.Access); users != http.StatusOK {
		t.Fatalf("the token endpoint answered %d %s, and the token is answered %d", tokens.Status, tokens.Text, users)
	}
	grants := &v1alpha1.OAuthGrantList{}
	must(t, h.Env.Client.List(t.Context(), grants, client.InNamespace(app.Namespace)))
	if len(grants.Items) != 1 {
		t.Fatalf("%d grants", len(grants.Items))
	}
	code := grants.Items[0].Spec.UserCode
	a := admin(t, app.Namespace)
	a.scim("oauth", "list").expect(0, code, "Connected", "the App, by a key of hr")
	a.scim("oauth", "deny", code).expect(2, "spec.oauth.machineClients")
	a.scim("oauth", "approve", code).expect(2, "spec.oauth.machineClients")
	must(t, h.Env.Client.Patch(t.Context(), &v1alpha1.App{ObjectMeta: metav1.ObjectMeta{Namespace: app.Namespace, Name: app.Name}},
		client.RawPatch("application/merge-patch+json", []byte(`{"spec":{"oauth":null}}`))))
	harness.Eventually(t, limit, "the end of the machine client", func(ctx context.Context) error {
		grant := &v1alpha1.OAuthGrant{}
		if err := h.Env.Client.Get(ctx, client.ObjectKeyFromObject(&grants.Items[0]), grant); err != nil {
			return err
		}
		if !meta.IsStatusConditionFalse(grant.Status.Conditions, v1alpha1.ConditionActive) {
			return errors.New("the grant is active")
		}
		return nil
	})
	a.scim("oauth", "list").expect(0, code, "NotHeld")
}
