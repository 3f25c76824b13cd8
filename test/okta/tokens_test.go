package okta_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/token"
	okta "github.com/scim-operator/scim-operator/test/okta/client"
	"github.com/scim-operator/scim-operator/test/okta/harness"
)

// newText returns a new token.
func newText(t *testing.T) string {
	t.Helper()
	text, err := token.New()
	must(t, err)
	return text
}

// Tokens come in three kinds: a digest, a Secret that the test writes, a Secret that the controller fills.
func TestTokenKinds(t *testing.T) {
	_, app := ownApp(t, okta.AppWizard)
	t.Run("digest", func(t *testing.T) {
		other := app
		other.Token = operator.NewToken(t, app)
		t.Logf("accepted after %s", operator.Opens(t, operator.Server, other))
	})
	for title, content := range map[string]func(text string) string{
		"secret with the token":          func(text string) string { return text },
		"secret with a newline at end":   func(text string) string { return text + "\n" },
		"secret with the token's digest": token.Digest,
	} {
		t.Run(title, func(t *testing.T) {
			text := newText(t)
			secret := &corev1.Secret{
				ObjectMeta: metav1.ObjectMeta{GenerateName: "okta-", Namespace: app.Namespace, Labels: map[string]string{"scim-operator.io/token": "true"}},
				StringData: map[string]string{"token": content(text)},
			}
			must(t, operator.Env.Client.Create(t.Context(), secret))
			operator.CreateToken(t, app, v1alpha1.ScimTokenSpec{SecretRef: &v1alpha1.SecretKeyReference{Name: secret.Name}})
			other := app
			other.Token = text
			t.Logf("accepted after %s", operator.Opens(t, operator.Server, other))
		})
	}
	t.Run("generated", func(t *testing.T) {
		operator.CreateToken(t, app, v1alpha1.ScimTokenSpec{Generate: &v1alpha1.GenerateToken{SecretName: "made-for-okta"}})
		secret := &corev1.Secret{}
		soon(t, "the Secret", func(ctx context.Context) error {
			if err := operator.Env.Client.Get(ctx, client.ObjectKey{Namespace: app.Namespace, Name: "made-for-okta"}, secret); err != nil {
				return err
			}
			if len(secret.Data["token"]) == 0 {
				return errors.New("no key token")
			}
			return nil
		})
		other := app
		other.Token = string(secret.Data["token"])
		t.Logf("accepted after %s", operator.Opens(t, operator.Server, other))
	})
	t.Run("two at a time", func(t *testing.T) {
		first, second := app, app
		first.Token, second.Token = operator.NewToken(t, app), operator.NewToken(t, app)
		operator.Opens(t, operator.Server, first)
		operator.Opens(t, operator.Server, second)
		operator.Opens(t, operator.Server, first)
	})
}

// What ends a token ends it within a second or two, and only that one.
func TestTokenEnds(t *testing.T) {
	scim, app := ownApp(t, okta.AppWizard)
	for _, test := range []struct {
		name string
		end  func(*testing.T, *v1alpha1.ScimToken)
	}{
		{"suspended", func(t *testing.T, object *v1alpha1.ScimToken) {
			must(t, operator.Env.Client.Patch(t.Context(), object, client.RawPatch("application/merge-patch+json", []byte(`{"spec":{"suspended":true}}`))))
		}},
		{"deleted", func(t *testing.T, object *v1alpha1.ScimToken) {
			must(t, operator.Env.Client.Delete(t.Context(), object))
		}},
		{"expired", func(t *testing.T, object *v1alpha1.ScimToken) { expire(t, object, 2*time.Second) }},
		{"expiry brought forward", func(t *testing.T, object *v1alpha1.ScimToken) { expire(t, object, -time.Minute) }},
		{"digest replaced", func(t *testing.T, object *v1alpha1.ScimToken) {
			must(t, operator.Env.Client.Patch(t.Context(), object, client.RawPatch("application/merge-patch+json", []byte(`{"spec":{"digest":"`+token.Digest(newText(t))+`"}}`))))
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			text := newText(t)
			object := operator.CreateToken(t, app, v1alpha1.ScimTokenSpec{Digest: token.Digest(text), ExpiresAt: &metav1.Time{Time: time.Now().Add(time.Hour)}})
			ending := app
			ending.Token = text
			operator.Opens(t, operator.Server, ending)
			test.end(t, object)
			took := operator.Refuses(t, operator.Server, ending, patience)
			t.Logf("refused after %s", took.Round(time.Millisecond))
			say(t)(scim.TestConnection(t.Context(), false))
		})
	}
	t.Run("not yet valid", func(t *testing.T) {
		text := newText(t)
		object := operator.CreateToken(t, app, v1alpha1.ScimTokenSpec{Digest: token.Digest(text), NotBefore: &metav1.Time{Time: time.Now().Add(time.Hour)}})
		early := app
		early.Token = text
		operator.Refuses(t, operator.Server, early, patience)
		begins := time.Now().Add(2 * time.Second)
		must(t, operator.Env.Client.Patch(t.Context(), object, client.RawPatch("application/merge-patch+json", []byte(`{"spec":{"notBefore":"`+begins.UTC().Format(time.RFC3339)+`"}}`))))
		operator.Opens(t, operator.Server, early)
		if now := time.Now(); now.Before(begins.Truncate(time.Second)) {
			t.Errorf("accepted %s before notBefore", begins.Sub(now))
		}
	})
}

// expire has a token end after a time from now.
func expire(t *testing.T, object *v1alpha1.ScimToken, after time.Duration) {
	t.Helper()
	at := time.Now().Add(after).UTC().Format(time.RFC3339)
	must(t, operator.Env.Client.Patch(t.Context(), object, client.RawPatch("application/merge-patch+json", []byte(`{"spec":{"expiresAt":"`+at+`"}}`))))
}

// Two Apps of one namespace are two directories: a token shows and changes the one only.
func TestAppsAreApart(t *testing.T) {
	a, appA := ownApp(t, okta.Template)
	appB := operator.NewApp(t, operator.Server, appA.Namespace, "other", nil)
	b := operator.Client(operator.Server, "/scim/v2", appB, okta.Template)

	profile := okta.NewProfile(newName(t, "same.name"))
	inA, inB := okta.Assign(profile), okta.Assign(profile)
	say(t)(a.AssignUser(t.Context(), inA))
	if created := say(t)(b.AssignUser(t.Context(), inB)); created.Status != http.StatusCreated {
		t.Fatalf("the same name in another App is another person\n%s", created)
	}
	if inA.ID == inB.ID {
		t.Fatalf("both Apps gave the id %s", inA.ID)
	}
	operator.AccessSoon(t, appA.Subject(profile.UserName), harness.Everywhere(harness.Viewer))
	operator.AccessSoon(t, appB.Subject(profile.UserName), harness.Everywhere(harness.Viewer))

	t.Run("by id", func(t *testing.T) {
		body := userJSON(profile.UserName, "")
		for _, request := range []struct{ method, body string }{
			{http.MethodGet, ""}, {http.MethodPut, body}, {http.MethodPatch, patchOf(`{"op":"replace","value":{"active":false}}`)}, {http.MethodDelete, ""},
		} {
			must(t, do(t, a, request.method, "/Users/"+inB.ID, request.body).ExpectError(http.StatusNotFound, ""))
		}
		if got := get(t, b, inB.ID).At("active"); got != true {
			t.Errorf("active of the other App's user is now %v", got)
		}
	})
	t.Run("by filter", func(t *testing.T) {
		for _, filter := range []string{
			okta.Equals("userName", profile.UserName), okta.Equals("externalId", profile.ExternalID), okta.Equals("emails.value", profile.Email),
			okta.Equals("id", inA.ID) + " or " + okta.Equals("id", inB.ID), "active eq true",
		} {
			soon(t, filter, func(context.Context) error {
				if got := find(t, a, filter); !slices.Equal(got, []string{inA.ID}) {
					return errors.New("found " + strings.Join(got, " ") + ", want " + inA.ID)
				}
				return nil
			})
		}
	})
	t.Run("by name alone", func(t *testing.T) {
		other := okta.Assign(okta.NewProfile(newName(t, "only.there")))
		say(t)(b.AssignUser(t.Context(), other))
		if got := find(t, a, okta.Equals("userName", other.Profile.UserName)); len(got) != 0 {
			t.Errorf("the other App's user is found: %q", got)
		}
	})
	t.Run("a leaver here stays there", func(t *testing.T) {
		say(t)(a.Deactivate(t.Context(), inA))
		operator.AccessNow(t, appA.Subject(profile.UserName), harness.Nowhere())
		operator.AccessNow(t, appB.Subject(profile.UserName), harness.Everywhere(harness.Viewer))
	})
	t.Run("externalId of the other App's leaver", func(t *testing.T) {
		// The same externalId restores a leaver of the same App only.
		say(t)(b.Deactivate(t.Context(), inB))
		newcomer := okta.Assign(profile)
		newcomer.Profile.UserName = newName(t, "new.comer")
		say(t)(b.Create(t.Context(), newcomer))
		if newcomer.ID != inB.ID {
			t.Errorf("App B restored %s, want %s", newcomer.ID, inB.ID)
		}
		if got := get(t, a, inA.ID).Text("userName"); got != profile.UserName {
			t.Errorf("App A's user is now named %q", got)
		}
	})
}
