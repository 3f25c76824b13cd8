package security_test

import (
	"context"
	"fmt"
	"net/http"
	"testing"

	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/test/bystander"
	"github.com/scim-operator/scim-operator/test/issuer"
	"github.com/scim-operator/scim-operator/test/okta/harness"
)

// ownIssuer is an issuer of the tenant's: the tenant signs tokens of any client with it.
func ownIssuer() *v1alpha1.ForeignIssuer {
	return &v1alpha1.ForeignIssuer{Issuer: "https://issuer.example.com", Audience: "any", Subjects: []string{"mallory"}}
}

// An issuer opens what the App grants: to name one, or to change what is asked of its tokens, takes the right to bind that, whatever the
// App's mode. To take it away takes nothing.
func TestIssuerOfAnAppByItsAuthor(t *testing.T) {
	n := newTenant(t)
	root := n.rootApp(t, "root")
	for name, change := range map[string]func(*v1alpha1.App){
		"an issuer":            func(app *v1alpha1.App) { app.Spec.OIDC = ownIssuer() },
		"and the App observes": func(app *v1alpha1.App) { app.Spec.OIDC, app.Spec.Mode = ownIssuer(), "Observe" },
	} {
		app := root.DeepCopy()
		change(app)
		refusedBy(t, n.client.Patch(t.Context(), app, client.MergeFrom(root)), grantsPolicy, "ClusterRole cluster-admin")
		made := root.DeepCopy()
		made.Name, made.ResourceVersion, made.UID = "made", "", ""
		change(made)
		refusedBy(t, n.client.Create(t.Context(), made), grantsPolicy, "ClusterRole cluster-admin")
		if t.Failed() {
			t.Fatal(name)
		}
	}

	own := n.newApp("own")
	own.Spec.OIDC = ownIssuer()
	must(t, n.client.Create(t.Context(), own))

	trusting := root.DeepCopy()
	trusting.Spec.OIDC = ownIssuer()
	must(t, n.admin.Patch(t.Context(), trusting, client.MergeFrom(root)))
	for name, patch := range map[string]string{
		"another issuer":    `{"spec":{"oidc":{"issuer":"https://other.example.com"}}}`,
		"another client":    `{"spec":{"oidc":{"subjects":["another"]}}}`,
		"another authority": `{"spec":{"oidc":{"certificateAuthority":"-----BEGIN CERTIFICATE-----"}}}`,
		"another network":   `{"spec":{"oidc":{"allowedCIDRs":["10.0.0.0/8"]}}}`,
	} {
		t.Run(name, func(t *testing.T) {
			refusedBy(t, n.client.Patch(t.Context(), trusting.DeepCopy(), mergePatch(patch)), grantsPolicy, "ClusterRole cluster-admin")
		})
	}
	must(t, n.client.Patch(t.Context(), trusting.DeepCopy(), mergePatch(`{"spec":{"oidc":null}}`)))
}

// The server's account writes of an App what it saw of the issuer, and nothing else.
func TestServerWritesNothingButTheIssuer(t *testing.T) {
	n := newTenant(t)
	app := n.newApp("told")
	must(t, n.admin.Create(t.Context(), app))
	// Before the controller wrote a status, an empty one changes nothing, and a policy of changes has nothing to refuse.
	harness.Eventually(t, patience, "a status of App told", func(ctx context.Context) error {
		if err := n.admin.Get(ctx, client.ObjectKeyFromObject(app), app); err != nil {
			return err
		}
		if len(app.Status.Conditions) == 0 || app.Status.ObservedGeneration != app.Generation {
			return fmt.Errorf("status %+v", app.Status)
		}
		return nil
	})
	config, err := clientcmd.BuildConfigFromFlags("", operator.ServerKubeconfig)
	must(t, err)
	server, err := client.New(config, client.Options{Scheme: operator.Env.Scheme})
	must(t, err)
	for _, patch := range []string{
		`{"status":{"tokens":7}}`,
		`{"status":{"tokens":7,"oidc":{"reachable":true}}}`,
		`{"status":{"removals":{"count":0,"held":0,"released":"now"}}}`,
		`{"status":{"conditions":[]}}`,
		`{"status":null}`,
	} {
		refusedBy(t, server.Status().Patch(t.Context(), app.DeepCopy(), mergePatch(patch)), writersPolicy, "status of apps")
	}
	must(t, server.Status().Patch(t.Context(), app.DeepCopy(), mergePatch(`{"status":{"oidc":{"reachable":true,"message":"seen"}}}`)))
	for _, tried := range []error{
		server.Patch(t.Context(), app.DeepCopy(), mergePatch(`{"spec":{"oidc":{"issuer":"https://issuer.example.com","audience":"any","subjects":["mallory"]}}}`)),
		server.Status().Update(t.Context(), app.DeepCopy()),
		n.client.Status().Patch(t.Context(), app.DeepCopy(), mergePatch(`{"status":{"oidc":{"reachable":false}}}`)),
	} {
		if tried == nil {
			t.Error("let through")
		}
	}
}

// What one tenant's issuer does, and clients with tokens of it, costs only that tenant: forged signatures, keys that are not known, and an
// issuer that takes requests and does not answer.
func TestBystanderOfIssuers(t *testing.T) {
	for name, attack := range map[string]struct {
		key   issuer.Key
		fault func(http.ResponseWriter, *http.Request) bool
	}{
		"32 clients with forged signatures": {newKey(t, "one"), nil},
		"32 clients with unknown keys":      {newKey(t, "unknown"), nil},
		"an issuer that does not answer": {newKey(t, "one"), func(_ http.ResponseWriter, r *http.Request) bool {
			<-r.Context().Done()
			return true
		}},
	} {
		t.Run(name, func(t *testing.T) {
			own, err := issuer.New()
			must(t, err)
			t.Cleanup(own.Close)
			own.Fail(attack.fault)
			tenant, err := bystander.NewTenant(t.Context(), operator.Server.URL, operator.Env.Client, func(spec *v1alpha1.AppSpec) {
				spec.OIDC = ownIssuer()
				spec.OIDC.Issuer, spec.OIDC.CertificateAuthority = own.URL, own.Authority()
			})
			must(t, err)
			text, err := attack.key.Sign(own.Claims(map[string]any{"aud": "any", "sub": "mallory"}), nil)
			must(t, err)
			undisturbed(t, name, tenant.TokensOfAnIssuer(32, text))
		})
	}
}

func newKey(t *testing.T, id string) issuer.Key {
	t.Helper()
	key, err := issuer.NewKey(id, "ES256")
	must(t, err)
	return key
}
