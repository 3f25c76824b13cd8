package okta_test

import (
	"net/http"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
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
	o := &oauthApp{App: app, issuer: issuer, okta: okta.NewOAuth(issuer, "okta", first,
		"https://system-admin.okta.com/admin/app/cpc/"+oktaAppName+"/oauth/callback")}
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
