package observe_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/hack/localoperator"
	"github.com/scim-operator/scim-operator/hack/process"
)

// ask sends a request to the controller's status page.
func ask(t *testing.T, method, url, host string) (*http.Response, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	must(t, err)
	if host != "" {
		request.Host = host
	}
	response, err := http.DefaultClient.Do(request)
	must(t, err)
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	must(t, err)
	return response, string(body)
}

// withHostileNames names the App as an attacker would, and returns the page that shows it.
func withHostileNames(t *testing.T) (scene *scene, page string) {
	t.Helper()
	scene = lively().play(t)
	app := &v1alpha1.App{}
	must(t, operator.Env.Client.Get(t.Context(), client.ObjectKey{Namespace: scene.app.Namespace, Name: scene.app.Name}, app))
	before := client.MergeFrom(app.DeepCopy())
	app.Spec.DisplayName = hostile
	must(t, operator.Env.Client.Patch(t.Context(), app, before))
	eventually(t, "the App's name on the page", func() error {
		_, page = ask(t, http.MethodGet, operator.Controller.MetricsURL+"/status", "")
		return unless(strings.Contains(page, "onerror=alert(1)"), "the page does not show the name")
	})
	return scene, page
}

// The page tells of the App, its users, tokens and last changes; what tenants named is text on it.
func TestStatusPage(t *testing.T) {
	scene, _ := withHostileNames(t)
	name := scene.app.Namespace + "/" + scene.app.Name
	eventually(t, "the page", func() error {
		_, page := ask(t, http.MethodGet, operator.Controller.MetricsURL+"/status", "")
		for _, want := range []string{
			"This replica leads.", name, "1 granted, 1 revoked", "1 members unknown", "/apps/" + name + "/scim/v2", ", by token lively-",
			"The token expires at", "groups were pushed with members that are no users", "half within", "viewer in us1", scene.leaver.ID,
			"revoked", "granted",
		} {
			if !strings.Contains(page, want) {
				return unless(false, "the page lacks %q", want)
			}
		}
		if strings.Contains(page, "<img") {
			t.Fatal("the page holds a tag that a tenant wrote")
		}
		return nil
	})
}

// Nothing but the page's own script runs, and nothing but reading is answered.
func TestStatusPageHeaders(t *testing.T) {
	response, _ := ask(t, http.MethodGet, operator.Controller.MetricsURL+"/status", "")
	policy := response.Header.Get("Content-Security-Policy")
	for _, want := range []string{"default-src 'none'", "script-src 'sha256-", "style-src 'sha256-", "frame-ancestors 'none'"} {
		if !strings.Contains(policy, want) || strings.Contains(policy, "unsafe") {
			t.Errorf("Content-Security-Policy %q lacks %q, or holds unsafe", policy, want)
		}
	}
	if got := response.Header.Get("Cache-Control"); got != "no-store" {
		t.Errorf("Cache-Control %q", got)
	}
	if response, _ := ask(t, http.MethodPost, operator.Controller.MetricsURL+"/status", ""); response.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("POST was answered %s", response.Status)
	}
	// A page elsewhere, with a name that resolves to 127.0.0.1.
	if response, body := ask(t, http.MethodGet, operator.Controller.MetricsURL+"/status", "evil.example.com:8083"); response.StatusCode != http.StatusMisdirectedRequest {
		t.Errorf("another Host was answered %s: %s", response.Status, body)
	}
}

// Beside metrics that other machines can read, the page asks the API server, and beside open ones it is not served.
func TestStatusPageAsksForCredentials(t *testing.T) {
	for name, test := range map[string]struct {
		args  []string
		https bool
		want  int
	}{
		"secured": {nil, true, http.StatusUnauthorized},
		"open":    {[]string{"--metrics-insecure"}, false, http.StatusNotFound},
	} {
		address, err := process.FreeAddress()
		must(t, err)
		_, port, _ := strings.Cut(address, ":")
		binary, err := localoperator.BuildOperator(t.Context())
		must(t, err)
		controller, err := localoperator.StartController(t.Context(), localoperator.ProcessOptions{
			Binary: binary, Kubeconfig: operator.ControllerKubeconfig, MetricsListen: "0.0.0.0:" + port, LeaderElect: true, Args: test.args,
		})
		must(t, err)
		scheme := "http://"
		if test.https {
			scheme = "https://"
		}
		eventually(t, name, func() error {
			status := insecurely(t, scheme+"127.0.0.1:"+port+"/status")
			return unless(status == test.want, "%s: answered %d, want %d", name, status, test.want)
		})
		must(t, controller.Stop())
	}
}

func TestStatusPageListensOnLoopbackOnly(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	binary, err := localoperator.BuildOperator(ctx)
	must(t, err)
	_, err = localoperator.StartController(ctx, localoperator.ProcessOptions{Binary: binary, Kubeconfig: operator.ControllerKubeconfig, Args: []string{"--status-listen=0.0.0.0:0"}})
	if err == nil || !strings.Contains(err.Error(), "only a loopback address") {
		t.Errorf("--status-listen=0.0.0.0:0: %v", err)
	}
	address, err := process.FreeAddress()
	must(t, err)
	controller, err := localoperator.StartController(ctx, localoperator.ProcessOptions{
		Binary: binary, Kubeconfig: operator.ControllerKubeconfig, LeaderElect: true, Args: []string{"--status-listen=" + address},
	})
	must(t, err)
	defer func() { must(t, controller.Stop()) }()
	if response, page := ask(t, http.MethodGet, "http://"+address, ""); response.StatusCode != http.StatusOK || !strings.Contains(page, "<h1>scim-operator</h1>") {
		t.Errorf("--status-listen answered %s: %s", response.Status, page)
	}
}
