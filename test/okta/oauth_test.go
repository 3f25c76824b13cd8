package okta_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/token"
	okta "github.com/scim-operator/scim-operator/test/okta/client"
	"github.com/scim-operator/scim-operator/test/okta/harness"
)

// issuingApp is an App with an authorization server.
type issuingApp struct{ harness.App }

// scim returns Okta's SCIM client with an access token.
func (a issuingApp) scim(access string) *okta.Client {
	own := a.App
	own.Token = access
	return operator.Client(operator.Server, "/scim/v2", own, okta.AppWizard)
}

func (a issuingApp) status(t *testing.T, access string) int {
	t.Helper()
	return do(t, a.scim(access), http.MethodGet, "/Users?startIndex=1&count=2", "").Status
}

// opensNot waits until a token opens the App no more.
func (a issuingApp) opensNot(t *testing.T, access string) {
	t.Helper()
	soon(t, "the end of an access token", func(context.Context) error {
		if got := a.status(t, access); got != http.StatusUnauthorized {
			return fmt.Errorf("answered %d", got)
		}
		return nil
	})
}

// oauthApp is an App with an OAuth client, and what an Okta admin is told of it.
type oauthApp struct {
	issuingApp
	issuer string
	okta   *okta.OAuth
}

const (
	oktaAppName = "dev-123456_acme_1"
	// administrator is the Kubernetes user of the tests.
	administrator = "admin"
)

// newOAuthApp makes an App with spec.oauth and the ScimToken of its client's secret, with its authorization server at a URL that is
// reached by transport; nil for one with an address that no other test has, since each may begin six connections at once.
func newOAuthApp(t *testing.T, server, name string, transport http.RoundTripper) *oauthApp {
	t.Helper()
	operator.ShowOnFailure(t)
	secret := newText(t)
	app := operator.NewApp(t, operator.Server, operator.Env.Namespace(t, nil), name, func(spec *v1alpha1.AppSpec) {
		spec.ExternalURL = server
		spec.OAuth = &v1alpha1.OAuth{
			ClientID: "okta-" + name, OktaAppName: oktaAppName,
			ClientSecret: v1alpha1.OAuthClientSecret{Name: name + "-client", Digest: token.Digest(secret)},
		}
	})
	must(t, operator.Env.Client.Create(t.Context(), &v1alpha1.ScimToken{
		ObjectMeta: metav1.ObjectMeta{Namespace: app.Namespace, Name: name + "-client"},
		Spec:       v1alpha1.ScimTokenSpec{App: name, Type: v1alpha1.TokenTypeClientSecret, Digest: token.Digest(secret)},
	}))
	issuer := server + "/apps/" + app.Namespace + "/" + app.Name
	o := &oauthApp{issuingApp: issuingApp{app}, issuer: issuer, okta: okta.NewOAuth(issuer, "okta-"+name, secret,
		"https://system-admin.okta.com/admin/app/cpc/"+oktaAppName+"/oauth/callback")}
	if o.okta.HTTP = transport; transport == nil {
		o.okta.HTTP = fromAnAddressOfItsOwn(t)
	}
	o.isAnswered(t, "invalid_grant")
	return o
}

// lastAddress is the last loopback address, 127.0.1.0 and above, that fromAnAddressOfItsOwn took.
var lastAddress atomic.Uint32

// fromAnAddressOfItsOwn returns a transport with another loopback address as its source; where the system has one alone, with that.
func fromAnAddressOfItsOwn(t *testing.T) http.RoundTripper {
	t.Helper()
	number := lastAddress.Add(1)
	own := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, byte(1+number/250), byte(1+number%250))}}
	transport := &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		connection, err := own.DialContext(ctx, network, address)
		if err != nil {
			return new(net.Dialer).DialContext(ctx, network, address)
		}
		return connection, nil
	}}
	t.Cleanup(transport.CloseIdleConnections)
	return transport
}

// isAnswered waits until the token endpoint answers a refresh token that is none so: invalid_grant once the client's secret is taken,
// else invalid_client.
func (o *oauthApp) isAnswered(t *testing.T, want string) {
	t.Helper()
	soon(t, "the client's secret: "+want, func(ctx context.Context) error {
		answer, err := o.okta.RefreshWith(ctx, newText(t), nil)
		if err == nil && answer.Error != want {
			err = fmt.Errorf("answered %d %s %s", answer.Status, answer.Error, answer.Text)
		}
		return err
	})
}

// refresh uses a refresh token, which must be taken.
func (o *oauthApp) refresh(t *testing.T, refresh string) *okta.Tokens {
	t.Helper()
	next, err := o.okta.RefreshWith(t.Context(), refresh, nil)
	must(t, err)
	if next.Status != http.StatusOK || next.Refresh == "" || next.Refresh == refresh || next.Access == "" {
		t.Fatalf("a refresh is answered %d %s %s", next.Status, next.Error, next.Text)
	}
	return next
}

func (o *oauthApp) grant(t *testing.T, code string) *v1alpha1.OAuthGrant {
	t.Helper()
	grant := &v1alpha1.OAuthGrant{}
	must(t, operator.Env.Client.Get(t.Context(), client.ObjectKey{Namespace: o.Namespace, Name: o.Name + "-" + strings.ToLower(strings.ReplaceAll(code, "-", ""))}, grant))
	return grant
}

// decide writes a decision as an administrator of the cluster does.
func (o *oauthApp) decide(t *testing.T, code, decision string) {
	t.Helper()
	patch := fmt.Sprintf(`{"spec":{"decision":%q,"decidedBy":%q}}`, decision, administrator)
	must(t, operator.Env.Client.Patch(t.Context(), o.grant(t, code), client.RawPatch("application/merge-patch+json", []byte(patch))))
}

// expire has a request be over for that long, as an administrator that restores a backup may.
func (o *oauthApp) expire(t *testing.T, code string, since time.Duration) {
	t.Helper()
	patch := fmt.Sprintf(`{"spec":{"expiresAt":%q}}`, time.Now().Add(-since).UTC().Format(time.RFC3339))
	must(t, operator.Env.Client.Patch(t.Context(), o.grant(t, code), client.RawPatch("application/merge-patch+json", []byte(patch))))
}

// connect plays the flow from the wizard's button to the tokens.
func (o *oauthApp) connect(t *testing.T, more url.Values) *okta.Tokens {
	t.Helper()
	tokens, err := o.okta.Redeem(t.Context(), o.code(t, more), nil)
	must(t, err)
	if tokens.Status != http.StatusOK || tokens.Access == "" || tokens.Refresh == "" || tokens.Type != "Bearer" {
		t.Fatalf("the token endpoint answered %d %s %s", tokens.Status, tokens.Error, tokens.Text)
	}
	return tokens
}

// code plays the flow up to the authorization code.
func (o *oauthApp) code(t *testing.T, more url.Values) string {
	t.Helper()
	browser, err := o.okta.NewBrowser()
	must(t, err)
	address, shown, err := o.okta.Begin(t.Context(), browser, more)
	must(t, err)
	o.decide(t, shown, v1alpha1.DecisionApproved)
	code, err := o.okta.Return(t.Context(), browser, address, o.issuer)
	must(t, err)
	return code
}

// The mode OAuth2 of Okta's App Integration Wizard: from the metadata over consent to the connection test, a person, a refresh, and the
// end of the connection by kubectl.
func TestOAuthModeOfTheWizard(t *testing.T) {
	o := newOAuthApp(t, operator.Server.URL, "wizard", nil)
	browser, err := o.okta.NewBrowser()
	must(t, err)
	metadata, err := browser.Open(t.Context(), operator.Server.URL+"/.well-known/oauth-authorization-server/apps/"+o.Namespace+"/"+o.Name)
	must(t, err)
	if metadata.Status != http.StatusOK || !strings.Contains(metadata.Body, `"issuer":"`+o.issuer+`"`) || !strings.Contains(metadata.Body, o.okta.TokenURL) {
		t.Errorf("the metadata answers %d %s", metadata.Status, metadata.Body)
	}
	tokens := o.connect(t, url.Values{"scope": {"offline_access"}})
	scim := o.scim(tokens.Access)
	say(t)(scim.TestConnection(t.Context(), true))
	person := okta.Assign(okta.NewProfile(newName(t, "oauth")))
	say(t)(scim.AssignUser(t.Context(), person))
	operator.AccessSoon(t, o.Subject(person.Profile.UserName), harness.Everywhere(harness.Viewer))

	next := o.refresh(t, tokens.Refresh)
	if next.Access == tokens.Access {
		t.Error("a refresh is answered with the same access token")
	}
	say(t)(o.scim(next.Access).Deactivate(t.Context(), person))
	operator.AccessNow(t, o.Subject(person.Profile.UserName), harness.Nowhere())

	var grants v1alpha1.OAuthGrantList
	must(t, operator.Env.Client.List(t.Context(), &grants, client.InNamespace(o.Namespace)))
	if len(grants.Items) != 1 {
		t.Fatalf("there are %d grants", len(grants.Items))
	}
	o.decide(t, grants.Items[0].Spec.UserCode, v1alpha1.DecisionDenied)
	soon(t, "the end of the connection", func(context.Context) error {
		if got := o.status(t, next.Access); got != http.StatusUnauthorized {
			return fmt.Errorf("answered %d", got)
		}
		return nil
	})
	if refused, err := o.okta.RefreshWith(t.Context(), next.Refresh, nil); err != nil || refused.Error != "invalid_grant" {
		t.Errorf("a refresh after the end is answered %v, %v", refused, err)
	}
}

// The condition of a request says what becomes of it, an Event tells each step once, and a day after its end it is gone.
func TestOAuthRequestIsToldAndGoes(t *testing.T) {
	o := newOAuthApp(t, operator.Server.URL, "told", nil)
	browser, err := o.okta.NewBrowser()
	must(t, err)
	_, code, err := o.okta.Begin(t.Context(), browser, nil)
	must(t, err)
	told := func(reason string) *v1alpha1.OAuthGrant {
		t.Helper()
		var grant *v1alpha1.OAuthGrant
		soon(t, "the condition "+reason, func(context.Context) error {
			grant = o.grant(t, code)
			active := meta.FindStatusCondition(grant.Status.Conditions, v1alpha1.ConditionActive)
			if active == nil || active.Status != metav1.ConditionFalse || active.Reason != reason || active.ObservedGeneration != grant.Generation {
				return fmt.Errorf("it is %+v", active)
			}
			return nil
		})
		return grant
	}
	told(v1alpha1.ReasonPending)
	o.decide(t, code, v1alpha1.DecisionApproved)
	told(v1alpha1.ReasonApproved)
	o.expire(t, code, 23*time.Hour)
	grant := told(v1alpha1.ReasonExpired)
	soon(t, "the Events", func(ctx context.Context) error {
		var list eventsv1.EventList
		if err := operator.Env.Client.List(ctx, &list, client.InNamespace(o.Namespace)); err != nil {
			return err
		}
		count := map[string]int{}
		for i := range list.Items {
			if event := &list.Items[i]; event.Regarding.UID == grant.UID {
				count[event.Type+" "+event.Reason]++
			}
		}
		want := map[string]int{"Normal Pending": 1, "Normal Approved": 1, "Normal Expired": 1}
		if !maps.Equal(count, want) {
			return fmt.Errorf("they are %v", count)
		}
		return nil
	})
	o.expire(t, code, 25*time.Hour)
	soon(t, "its deletion", func(ctx context.Context) error {
		err := operator.Env.Client.Get(ctx, client.ObjectKeyFromObject(grant), &v1alpha1.OAuthGrant{})
		if !apierrors.IsNotFound(err) {
			return errors.Join(errors.New("it is there"), err)
		}
		return nil
	})
}
