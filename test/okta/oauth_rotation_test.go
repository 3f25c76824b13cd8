package okta_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/hack/localoperator"
	okta "github.com/scim-operator/scim-operator/test/okta/client"
	"github.com/scim-operator/scim-operator/test/okta/harness"
)

// The credential of the wizard's mode OAuth2, from the connection test to its rotation: the client's secret is replaced while Okta is
// connected. Both are taken for the overlap, the connection outlasts the rotation, and then the former secret gets no token.
func TestOAuthSecretIsRotated(t *testing.T) {
	operator.ShowOnFailure(t)
	app := operator.NewApp(t, operator.Server, operator.Env.Namespace(t, nil), "wizard", func(spec *v1alpha1.AppSpec) {
		spec.ExternalURL = operator.Server.URL
		spec.OAuth = &v1alpha1.OAuth{ClientID: "okta", OktaAppName: oktaAppName, ClientSecret: v1alpha1.OAuthClientSecret{Name: "rotated"}}
	})
	r := &rotated{T: t, app: app, object: &v1alpha1.ScimToken{}}
	must(t, operator.Env.Client.Create(t.Context(), &v1alpha1.ScimToken{
		ObjectMeta: metav1.ObjectMeta{Namespace: app.Namespace, Name: "rotated"},
		Spec: v1alpha1.ScimTokenSpec{
			App: app.Name, Type: v1alpha1.TokenTypeClientSecret, Generate: &v1alpha1.GenerateToken{SecretName: "rotated"},
			Rotation: &v1alpha1.TokenRotation{Every: metav1.Duration{Duration: time.Hour}, Overlap: metav1.Duration{Duration: 10 * time.Minute}},
		},
	}))
	first := string(r.secret(r.settled(1, false).SecretName).Data["token"])
	issuer := operator.Server.URL + "/apps/" + app.Namespace + "/" + app.Name
	o := &oauthApp{issuingApp: issuingApp{app}, issuer: issuer, okta: okta.NewOAuth(issuer, "okta", first,
		"https://system-admin.okta.com/admin/app/cpc/"+oktaAppName+"/oauth/callback")}
	o.okta.HTTP = fromAnAddressOfItsOwn(t)
	o.isAnswered(t, "invalid_grant")
	tokens := o.connect(t, nil)
	say(t)(o.scim(tokens.Access).TestConnection(t.Context(), true))
	person := okta.Assign(okta.NewProfile(newName(t, "oauth.rotated")))
	say(t)(o.scim(tokens.Access).AssignUser(t.Context(), person))
	operator.AccessSoon(t, o.Subject(person.Profile.UserName), harness.Everywhere(harness.Viewer))

	r.age("rotated", 61*time.Minute)
	status := r.settled(2, true)
	next := string(r.secret(status.SecretName).Data["token"])
	tokens = o.refresh(t, tokens.Refresh)
	o.okta.ClientSecret = next // typed into Okta
	o.isAnswered(t, "invalid_grant")
	tokens = o.refresh(t, tokens.Refresh)

	r.age(status.SecretName, 11*time.Minute)
	r.settled(2, false)
	o.okta.ClientSecret = first
	o.isAnswered(t, "invalid_client")
	o.okta.ClientSecret = next
	tokens = o.refresh(t, tokens.Refresh)
	if got := o.status(t, tokens.Access); got != http.StatusOK {
		t.Errorf("the connection is answered %d after the rotation", got)
	}
	say(t)(o.scim(tokens.Access).Deactivate(t.Context(), person))
	operator.AccessNow(t, o.Subject(person.Profile.UserName), harness.Nowhere())
}

// Any replica finishes what another began: each connection of the browser and of Okta goes to the other one of two servers.
func TestOAuthOverTwoReplicas(t *testing.T) {
	second, err := operator.RunServer(t.Context(), "")
	must(t, err)
	harness.StopAtEnd(t, second)
	servers := []*localoperator.Process{operator.Server, second}
	connections, reached := atomic.Int32{}, [2]atomic.Int32{}
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		at := connections.Add(1) % 2
		reached[at].Add(1)
		return (&net.Dialer{}).DialContext(ctx, network, strings.TrimPrefix(servers[at].URL, "http://"))
	}}
	o := newOAuthApp(t, operator.Server.URL, "replicas", transport)
	for _, server := range servers { // each knows the client's secret
		soon(t, "the App at "+server.URL, func(ctx context.Context) error {
			answer, err := o.at(server).RefreshWith(ctx, newText(t), nil)
			if err == nil && answer.Error != "invalid_grant" {
				err = fmt.Errorf("answered %d %s", answer.Status, answer.Error)
			}
			return err
		})
	}
	opens := func(access string, want int) {
		t.Helper()
		own := o.App
		own.Token = access
		for _, server := range servers {
			soon(t, fmt.Sprintf("%d at %s", want, server.URL), func(ctx context.Context) error {
				answer, err := operator.Client(server, "/scim/v2", own, okta.AppWizard).Do(ctx, http.MethodGet, "/Users?count=1", nil)
				if err == nil {
					err = answer.ExpectStatus(want)
				}
				return err
			})
		}
	}
	tokens := o.connect(t, nil)
	first := tokens
	for range 5 {
		tokens = o.refresh(t, tokens.Refresh)
	}
	opens(tokens.Access, http.StatusOK)
	if again, err := o.okta.RefreshWith(t.Context(), first.Refresh, nil); err != nil || again.Error != "invalid_grant" {
		t.Errorf("a refresh token that was used is answered %+v, %v", again, err)
	}
	opens(tokens.Access, http.StatusUnauthorized)
	if reached[0].Load() < 5 || reached[1].Load() < 5 {
		t.Errorf("the replicas were reached %d and %d times", reached[0].Load(), reached[1].Load())
	}
}

// at is Okta's client of one replica.
func (o *oauthApp) at(server *localoperator.Process) *okta.OAuth {
	one := *o.okta
	one.HTTP = nil
	one.TokenURL = server.URL + "/apps/" + o.Namespace + "/" + o.Name + "/oauth/token"
	return &one
}
