package security_test

import (
	"context"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/token"
	"github.com/scim-operator/scim-operator/test/okta/harness"
)

const (
	oauthTokensPolicy    = "scim-operator-oauth-tokens"
	oauthGrantsPolicy    = "scim-operator-oauth-grants"
	oauthAppsPolicy      = "scim-operator-oauth-apps"
	oauthIssuedPolicy    = "scim-operator-oauth-issued"
	oauthApprovalsPolicy = "scim-operator-oauth-approvals"
)

// withServer returns a client with the server's own token, which writes.
func withServer(t *testing.T) client.Client {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", operator.ServerKubeconfig)
	must(t, err)
	c, err := client.New(config, client.Options{Scheme: operator.Env.Scheme})
	must(t, err)
	return c
}

func digestOf(text string) string { return token.Digest(text) }

// oauth is the client of an App.
func (n *tenant) oauth() *v1alpha1.OAuth {
	return &v1alpha1.OAuth{ClientID: "okta", OktaAppName: "acme_1", ClientSecret: v1alpha1.OAuthClientSecret{Name: "client"}}
}

// grantOf is a request as the server makes it, for an App that is there.
func (n *tenant) grantOf(t *testing.T, app, id string) *v1alpha1.OAuthGrant {
	t.Helper()
	of := &v1alpha1.App{}
	must(t, n.admin.Get(t.Context(), client.ObjectKey{Namespace: n.namespace, Name: app}, of))
	name := app + "-" + strings.ToLower(id)
	return &v1alpha1.OAuthGrant{
		ObjectMeta: metav1.ObjectMeta{Namespace: n.namespace, Name: name, Labels: map[string]string{v1alpha1.LabelGrant: name}},
		Spec: v1alpha1.OAuthGrantSpec{
			App: app, AppUID: string(of.UID), ClientID: "okta", RedirectURI: "https://system-admin.okta.com/admin/app/cpc/acme_1/oauth/callback",
			UserCode: id[:4] + "-" + id[4:], BrowserDigest: digestOf("browser"), ExpiresAt: metav1.NewTime(time.Now().Add(10 * time.Minute).Truncate(time.Second)),
		},
	}
}

// issuedFor is an access token as the server issues it.
func issuedFor(grant *v1alpha1.OAuthGrant) *v1alpha1.ScimToken {
	expires := metav1.NewTime(time.Now().Add(time.Hour).Truncate(time.Second))
	return &v1alpha1.ScimToken{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: grant.Namespace, Name: grant.Name + "-token", Labels: map[string]string{v1alpha1.LabelGrant: grant.Name},
			OwnerReferences: []metav1.OwnerReference{{APIVersion: v1alpha1.GroupVersion.String(), Kind: "OAuthGrant", Name: grant.Name, UID: grant.UID}},
		},
		Spec: v1alpha1.ScimTokenSpec{App: grant.Spec.App, Type: v1alpha1.TokenTypeAccess, Grant: grant.Name, Digest: digestOf(grant.Name), ExpiresAt: &expires},
	}
}

func decision(text, by string) client.Patch {
	return mergePatch(`{"spec":{"decision":"` + text + `","decidedBy":"` + by + `"}}`)
}

// To approve a client takes the right to bind what the App grants, in the own name, once; to deny takes none.
func TestOAuthApproval(t *testing.T) {
	n, server := newTenant(t), withServer(t)
	root := n.rootApp(t, "root")
	must(t, n.admin.Patch(t.Context(), root, mergePatch(`{"spec":{"oauth":{"clientID":"okta","oktaAppName":"acme_1","clientSecret":{"name":"client"}}}}`)))
	own := n.newApp("own")
	own.Spec.OAuth = n.oauth()
	must(t, n.client.Create(t.Context(), own))
	grants := map[string]*v1alpha1.OAuthGrant{"root": n.grantOf(t, "root", "BCDFGHJK"), "own": n.grantOf(t, "own", "CDFGHJKL"), "denied": n.grantOf(t, "own", "DFGHJKLM")}
	for _, grant := range grants {
		n.createdSoon(t, server, grant)
	}

	refusedBy(t, n.client.Patch(t.Context(), copyOf(grants["root"]), decision("Approved", n.user)), oauthApprovalsPolicy,
		`role "root" grants ClusterRole cluster-admin in the whole cluster`, `"bind"`)
	refusedBy(t, n.client.Patch(t.Context(), copyOf(grants["own"]), decision("Approved", "admin")), oauthGrantsPolicy, "spec.decidedBy", n.user)
	refusedBy(t, n.client.Patch(t.Context(), copyOf(grants["own"]), mergePatch(`{"spec":{"redirectURI":"https://evil.example.com/"}}`)), oauthGrantsPolicy)
	refusedBy(t, n.client.Patch(t.Context(), copyOf(grants["own"]), mergePatch(`{"spec":{"app":"root"}}`)), oauthGrantsPolicy)
	refusedBy(t, n.client.Create(t.Context(), n.grantOf(t, "own", "FGHJKLMN")), oauthGrantsPolicy, "made by the SCIM server alone")
	refusedBy(t, n.client.Status().Patch(t.Context(), copyOf(grants["own"]), mergePatch(`{"status":{"refresh":{"digest":"`+digestOf("mine")+
		`","issuedAt":"2030-01-01T00:00:00Z","expiresAt":"2031-01-01T00:00:00Z"}}}`)), writersPolicy)

	must(t, n.client.Patch(t.Context(), copyOf(grants["own"]), decision("Approved", n.user)))
	must(t, n.client.Patch(t.Context(), copyOf(grants["denied"]), decision("Denied", n.user)))
	refusedBy(t, n.client.Patch(t.Context(), copyOf(grants["denied"]), decision("Approved", n.user)), oauthGrantsPolicy, "spec.decision")
	must(t, n.client.Patch(t.Context(), copyOf(grants["root"]), decision("Denied", n.user)))
	must(t, n.client.Patch(t.Context(), copyOf(grants["own"]), decision("Denied", n.user)))
	refusedBy(t, n.client.Patch(t.Context(), copyOf(grants["own"]), decision("Approved", n.user)), oauthGrantsPolicy, "spec.decision")
}

// createdSoon makes an object as the server does: admission knows of an App some milliseconds after it was written.
func (n *tenant) createdSoon(t *testing.T, c client.Client, object client.Object) {
	t.Helper()
	harness.Eventually(t, patience, "a creation", func(ctx context.Context) error { return c.Create(ctx, object) })
}

// An App gets an OAuth client from an author that can bind what the App grants, also one that only observes.
func TestOAuthClientWidensAccess(t *testing.T) {
	n := newTenant(t)
	root := n.newApp("root")
	root.Spec.Mode = v1alpha1.ModeObserve
	root.Spec.Roles = []v1alpha1.Role{{Name: "root", Grants: []v1alpha1.Grant{{ClusterRole: "cluster-admin"}}}}
	must(t, n.admin.Create(t.Context(), root))
	with := mergePatch(`{"spec":{"oauth":{"clientID":"okta","oktaAppName":"acme_1","clientSecret":{"name":"client"}}}}`)
	refusedBy(t, n.client.Patch(t.Context(), copyOf(root), with), grantsPolicy, "cluster-admin")
	must(t, n.admin.Patch(t.Context(), copyOf(root), with))
	refusedBy(t, n.client.Patch(t.Context(), copyOf(root), mergePatch(`{"spec":{"oauth":{"clientSecret":{"name":"mine"}}}}`)), grantsPolicy, "cluster-admin")
	must(t, n.client.Patch(t.Context(), copyOf(root), mergePatch(`{"spec":{"oauth":null}}`)))
}

// A tenant makes no issued tokens, and changes none.
func TestOAuthTokensAreIssuedByTheServerAlone(t *testing.T) {
	n, server := newTenant(t), withServer(t)
	own := n.newApp("own")
	own.Spec.OAuth = n.oauth()
	must(t, n.client.Create(t.Context(), own))
	grant := n.grantOf(t, "own", "BCDFGHJK")
	n.createdSoon(t, server, grant)
	must(t, n.client.Patch(t.Context(), copyOf(grant), decision("Approved", n.user)))
	refusedBy(t, n.client.Create(t.Context(), issuedFor(grant)), oauthTokensPolicy, "issued by the SCIM server alone")
	object := issuedFor(grant)
	n.createdSoon(t, server, object)
	refusedBy(t, n.client.Patch(t.Context(), copyOf(object), mergePatch(`{"spec":{"digest":"`+digestOf("mine")+`"}}`)), oauthTokensPolicy)
	refusedBy(t, n.client.Patch(t.Context(), copyOf(object), mergePatch(`{"spec":{"expiresAt":"2099-01-01T00:00:00Z"}}`)), oauthTokensPolicy)
	must(t, n.client.Patch(t.Context(), copyOf(object), mergePatch(`{"spec":{"suspended":true}}`)))
	must(t, n.client.Delete(t.Context(), copyOf(object)))
}

// With the server's own credential: no token without an approved request, of an App with spec.oauth, and no decision.
func TestStolenServerIssuesNothingUnapproved(t *testing.T) {
	n, server := newTenant(t), withServer(t)
	plain, own := n.newApp("plain"), n.newApp("own")
	own.Spec.OAuth = n.oauth()
	must(t, n.admin.Create(t.Context(), plain))
	must(t, n.admin.Create(t.Context(), own))
	scimToken, _ := n.newToken(t, "own", "waiting")
	must(t, n.admin.Create(t.Context(), scimToken))
	pending, approved, ended := n.grantOf(t, "own", "BCDFGHJK"), n.grantOf(t, "own", "CDFGHJKL"), n.grantOf(t, "own", "DFGHJKLM")
	for _, grant := range []*v1alpha1.OAuthGrant{pending, approved, ended} {
		n.createdSoon(t, server, grant)
	}
	must(t, n.admin.Patch(t.Context(), copyOf(approved), decision("Approved", "admin")))
	must(t, n.admin.Patch(t.Context(), copyOf(ended), decision("Approved", "admin")))
	must(t, n.admin.Patch(t.Context(), copyOf(ended), decision("Denied", "admin")))
	over := n.grantOf(t, "own", "JKLMNPQR")
	n.createdSoon(t, server, over)
	must(t, retry.RetryOnConflict(retry.DefaultRetry, func() error {
		if err := server.Get(t.Context(), client.ObjectKeyFromObject(over), over); err != nil {
			return err
		}
		over.Status.Ended = &v1alpha1.OAuthEnd{Reason: v1alpha1.ReasonRevoked, Time: metav1.Now()}
		return server.Status().Update(t.Context(), over)
	}))
	valid := issuedFor(approved)
	n.createdSoon(t, client.NewDryRunClient(server), valid.DeepCopy()) // so that the refusals are for their reasons

	with := func(change func(*v1alpha1.ScimToken)) *v1alpha1.ScimToken {
		object := valid.DeepCopy()
		change(object)
		return object
	}
	for _, each := range []struct {
		name, policy string
		object       client.Object
	}{
		{"a token for a request that waits", oauthIssuedPolicy, issuedFor(pending)},
		{"a token for a request that was denied", oauthIssuedPolicy, issuedFor(ended)},
		{"a token of another App than the approved one", "", with(func(s *v1alpha1.ScimToken) { s.Spec.App = "plain" })},
		{"a token without a grant", oauthTokensPolicy, with(func(s *v1alpha1.ScimToken) { s.Spec.Type, s.Spec.Grant = "", "" })},
		{"a client secret", oauthTokensPolicy, with(func(s *v1alpha1.ScimToken) { s.Spec.Type, s.Spec.Grant = v1alpha1.TokenTypeClientSecret, "" })},
		{"a token without the label", oauthTokensPolicy, with(func(s *v1alpha1.ScimToken) { s.Labels = nil })},
		{"a token with another label", oauthTokensPolicy, with(func(s *v1alpha1.ScimToken) { s.Labels[v1alpha1.LabelGrant] = "other" })},
		{"a token without an owner", oauthTokensPolicy, with(func(s *v1alpha1.ScimToken) { s.OwnerReferences = nil })},
		{"an access token that outlasts what an App may ask for", oauthTokensPolicy, with(func(s *v1alpha1.ScimToken) {
			s.Spec.ExpiresAt = &metav1.Time{Time: time.Now().Add(25 * time.Hour).Truncate(time.Second)}
		})},
		{"a request for another App of this name", oauthAppsPolicy, func() client.Object {
			g := n.grantOf(t, "own", "KLMNPQRS")
			g.Spec.AppUID = "00000000-0000-0000-0000-000000000000"
			return g
		}()},
		{"a request of another client", oauthAppsPolicy, func() client.Object { g := n.grantOf(t, "own", "LMNPQRST"); g.Spec.ClientID = "mine"; return g }()},
		{"a request for an App without OAuth", oauthAppsPolicy, n.grantOf(t, "plain", "FGHJKLMN")},
		{"a request without the label", oauthGrantsPolicy, func() client.Object { g := n.grantOf(t, "own", "GHJKLMNP"); g.Labels = nil; return g }()},
		{"a request that is approved already", "", func() client.Object {
			g := n.grantOf(t, "own", "HJKLMNPQ")
			g.Spec.Decision, g.Spec.DecidedBy = v1alpha1.DecisionApproved, "admin"
			return g
		}()},
	} {
		t.Run(each.name, func(t *testing.T) {
			err := client.NewDryRunClient(server).Create(t.Context(), each.object)
			if each.policy != "" {
				refusedBy(t, err, each.policy)
			} else if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "scim-operator-oauth-") {
				t.Errorf("the API server says %v", err)
			}
		})
	}
	refuseAll(t, client.NewDryRunClient(server), []attempt{
		deleting("a ScimToken of people", scimToken), deleting("a request", pending),
		{"approve a request", func(ctx context.Context, c client.Client) error {
			return c.Patch(ctx, copyOf(pending), decision("Approved", "system:serviceaccount:scim-operator-system:scim-operator-server"))
		}},
		{"write a condition of a request", func(ctx context.Context, c client.Client) error {
			object := &v1alpha1.OAuthGrant{}
			if err := c.Get(ctx, client.ObjectKeyFromObject(pending), object); err != nil {
				return err
			}
			object.Status.Conditions = []metav1.Condition{{Type: "Active", Status: "True", Reason: "Mine", LastTransitionTime: metav1.Now()}}
			return c.Status().Update(ctx, object)
		}},
		{"revive a connection that ended", func(ctx context.Context, c client.Client) error {
			object := &v1alpha1.OAuthGrant{}
			if err := c.Get(ctx, client.ObjectKeyFromObject(over), object); err != nil {
				return err
			}
			object.Status.Ended = nil
			return c.Status().Update(ctx, object)
		}},
		{"say of a request's status that it is another object's", func(ctx context.Context, c client.Client) error {
			object := &v1alpha1.OAuthGrant{}
			if err := c.Get(ctx, client.ObjectKeyFromObject(over), object); err != nil {
				return err
			}
			object.Status.UID = "11111111-2222-3333-4444-555555555555"
			return c.Status().Update(ctx, object)
		}},
		{"change an issued token", func(ctx context.Context, c client.Client) error {
			return c.Patch(ctx, copyOf(scimToken), mergePatch(`{"spec":{"suspended":true}}`))
		}},
	})
}
