package okta_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/token"
	okta "github.com/scim-operator/scim-operator/test/okta/client"
	"github.com/scim-operator/scim-operator/test/okta/harness"
)

// basic is the header of Okta's mode Basic Auth.
func basic(user, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

// The authentication modes of Okta's App Integration Wizard that are served, each from the connection test to the rotation of
// the credential: two are accepted at the same time, then the first one ends.
func TestTokenModesOfTheWizard(t *testing.T) {
	for mode, header := range map[string]func(text string) string{
		"HTTP Header":                func(text string) string { return "Bearer " + text },
		"Basic Auth, a name":         func(text string) string { return basic("okta provisioning", text) },
		"Basic Auth, the token's ID": func(text string) string { return basic(token.ID(token.Digest(text)), text) },
	} {
		t.Run(mode, func(t *testing.T) {
			_, app := ownApp(t, okta.AppWizard)
			credential := func() (*okta.Client, *v1alpha1.ScimToken) {
				own := app
				own.Token = newText(t)
				spec := v1alpha1.ScimTokenSpec{Digest: token.Digest(own.Token)}
				if strings.HasPrefix(mode, "Basic") {
					spec.Basic = &v1alpha1.BasicAuthentication{}
				}
				if strings.HasSuffix(mode, "a name") {
					spec.Basic.UserName = "okta provisioning"
				}
				object := operator.CreateToken(t, app, spec)
				operator.Opens(t, operator.Server, own)
				scim := operator.Client(operator.Server, "/scim/v2", own, okta.AppWizard)
				scim.Authorization = header(own.Token)
				return scim, object
			}
			first, object := credential()
			say(t)(first.TestConnection(t.Context(), true))
			person := okta.Assign(okta.NewProfile(newName(t, "mode")))
			say(t)(first.AssignUser(t.Context(), person))
			operator.AccessSoon(t, app.Subject(person.Profile.UserName), harness.Everywhere(harness.Viewer))

			second, _ := credential()
			say(t)(second.TestConnection(t.Context(), true))
			must(t, operator.Env.Client.Delete(t.Context(), object))
			soon(t, "the end of the first credential", func(ctx context.Context) error {
				answer, err := first.Do(ctx, http.MethodGet, "/Users?count=1", nil)
				if err == nil && answer.Status != http.StatusUnauthorized {
					err = fmt.Errorf("answered %d", answer.Status)
				}
				return err
			})
			say(t)(second.Deactivate(t.Context(), person))
			operator.AccessNow(t, app.Subject(person.Profile.UserName), harness.Nowhere())
		})
	}
}

// What Basic is answered where it does not open the App says what to do, and the same for every user name that is not the one.
func TestTokenBasicRefused(t *testing.T) {
	plain, app := ownApp(t, okta.AppWizard)
	answered := func(header string) *okta.Exchange {
		return do(t, plain, http.MethodGet, "/Users?count=1", "", okta.WithHeader("Authorization", header))
	}
	refused := func(title, header string, words ...string) string {
		t.Helper()
		answer := answered(header)
		detail := answer.Text("detail")
		if answer.Status != http.StatusUnauthorized {
			t.Errorf("%s is answered %d", title, answer.Status)
		}
		for _, word := range words {
			if !strings.Contains(detail, word) {
				t.Errorf("%s: %q lacks %q", title, detail, word)
			}
		}
		if strings.Contains(string(answer.Body), app.Token) {
			t.Errorf("%s: the answer holds the token", title)
		}
		return detail
	}
	refused("a token without spec.basic", basic("okta", app.Token), "spec.basic", "HTTP Header")
	refused("a password that is no token", basic("okta", "password"), "spec.basic", "HTTP Header")
	refused("no password", basic("okta", ""), "No credentials")
	refused("no base64", "Basic ???", "base64")
	refused("a token that was cut", basic("okta", app.Token[:len(app.Token)-2]), "checksum")

	named := newText(t)
	object := operator.CreateToken(t, app, v1alpha1.ScimTokenSpec{Digest: token.Digest(named), Basic: &v1alpha1.BasicAuthentication{UserName: "okta"}})
	soon(t, "Basic", func(context.Context) error {
		if got := answered(basic("okta", named)); got.Status != http.StatusOK {
			return fmt.Errorf("answered %d", got.Status)
		}
		return nil
	})
	wrong := refused("another user name", basic("root", named), "spec.basic.userName")
	if unknown := refused("nothing that is known", basic("root", newText(t))); unknown != wrong {
		t.Errorf("an unknown password is told from an unknown user name:\n%s\n%s", unknown, wrong)
	}
	config := do(t, plain, http.MethodGet, "/ServiceProviderConfig", "", okta.WithHeader("Authorization", basic("okta", named)))
	if !strings.Contains(string(config.Body), `"httpbasic"`) {
		t.Errorf("the configuration does not tell of Basic: %s", config.Body)
	}
	must(t, operator.Env.Client.Patch(t.Context(), object, client.RawPatch("application/merge-patch+json", []byte(`{"spec":{"basic":null}}`))))
	soon(t, "the end of Basic", func(context.Context) error {
		if got := answered(basic("okta", named)); got.Status != http.StatusUnauthorized {
			return fmt.Errorf("answered %d", got.Status)
		}
		if got := answered("Bearer " + named); got.Status != http.StatusOK {
			return fmt.Errorf("as Bearer it is answered %d", got.Status)
		}
		return nil
	})
}
