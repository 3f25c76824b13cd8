package plugin_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/test/okta/harness"
)

// tokenFile writes an App's token into a file.
func tokenFile(t *testing.T, app harness.App) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "token")
	must(t, os.WriteFile(path, []byte(app.Token+"\n"), 0o600))
	return path
}

// usersLeft returns the userNames of a namespace, once those that are being deleted are gone.
func usersLeft(t *testing.T, namespace string) (names []string) {
	t.Helper()
	harness.Eventually(t, limit, "the end of deletions", func(ctx context.Context) error {
		users := &v1alpha1.UserList{}
		err := h.Env.Client.List(ctx, users, client.InNamespace(namespace))
		names = nil
		for i := range users.Items {
			if users.Items[i].DeletionTimestamp != nil {
				return os.ErrExist
			}
			names = append(names, users.Items[i].Spec.UserName)
		}
		return err
	})
	return names
}

func TestTrialOfAnApp(t *testing.T) {
	app := newApp(t, func(spec *v1alpha1.AppSpec) {
		spec.Attributes = append(spec.Attributes,
			v1alpha1.CustomAttribute{Name: "badge", Type: "integer", Required: true},
			v1alpha1.CustomAttribute{Name: "site", Type: "string", Required: true, MultiValued: true, CanonicalValues: []string{"berlin"}, Schema: "urn:example:site"})
	})
	base := h.Server.URL + "/scim/v2"
	a := admin(t, app.Namespace)
	args := []string{"test", app.Name, "--url", base, "--token-file", tokenFile(t, app)}
	a.scim(args...).expect(0, "✓ connection test", "✓ create it", "✓ deactivate it", "✓ its access is gone", "✓ delete it").lacks("✗", "\x1b", app.Token)
	a.with(t.Context(), app.Token, "test", app.Name, "--url", h.Server.URL, "--token-file", "-", "-o", "json").expect(0, `"ok": true`).lacks(`"ok": false`)
	accountWith(t, app.Namespace, "vera", "scim-operator-viewer").scim(args...).expect(0, "✓ its access is gone")

	wrong := app
	wrong.Token = strings.Repeat("x", 40)
	a.scim("test", app.Name, "--url", base, "--token-file", tokenFile(t, wrong)).expect(1, "✗ connection test", "HTTP 401").lacks("create it")
	a.scim("test", app.Name, "--token-file", tokenFile(t, app)).expect(2, "spec.externalURL")
	a.scim("test", app.Name, "--url", base).expect(2, "no generated token")
	a.scim("test", app.Name, "--url", "http://scim.example.com", "--token-file", tokenFile(t, app)).expect(2, "unencrypted")

	edit(t, app, func(spec *v1alpha1.AppSpec) { spec.Provisioning.DeactivateUsers = new(false) })
	harness.Eventually(t, limit, "the switch", func(context.Context) error {
		if out := a.scim(args...).out; !strings.Contains(out, "- deactivate it") || !strings.Contains(out, "✓ delete it: the object") {
			return os.ErrNotExist
		}
		return nil
	})
	edit(t, app, func(spec *v1alpha1.AppSpec) { spec.Provisioning.CreateUsers = new(false) })
	a.scim(args...).expect(0, "- create a user: spec.provisioning.createUsers is off")
	if left := usersLeft(t, app.Namespace); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// The answer to the creation is lost, since Ctrl-C came meanwhile: the user is found by its name and deleted. A
// redirection does not get the token.
func TestTrialThatIsInterrupted(t *testing.T) {
	app := newApp(t, nil)
	target, err := url.Parse(h.Server.URL)
	must(t, err)
	ctx, interrupt := context.WithCancel(t.Context())
	proxy := httputil.NewSingleHostReverseProxy(target)
	proxy.ModifyResponse = func(response *http.Response) error {
		if response.Request.Method == http.MethodPost {
			interrupt()
			<-response.Request.Context().Done()
		}
		return nil
	}
	server := httptest.NewServer(proxy)
	defer server.Close()
	a := admin(t, app.Namespace)
	a.with(ctx, app.Token, "test", app.Name, "--url", server.URL, "--token-file", "-").expect(1, "✗ create it", "✓ delete it: DELETE")
	if left := usersLeft(t, app.Namespace); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}

	got := ""
	thief := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, request *http.Request) { got = request.Header.Get("Authorization") }))
	defer thief.Close()
	elsewhere := httptest.NewServer(http.RedirectHandler(thief.URL, http.StatusTemporaryRedirect))
	defer elsewhere.Close()
	a.with(t.Context(), app.Token, "test", app.Name, "--url", elsewhere.URL, "--token-file", "-").expect(1, "✗ connection test", "HTTP 307")
	if got != "" {
		t.Error("a redirection was followed")
	}
}
