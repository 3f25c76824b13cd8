package plugin_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/test/okta/harness"
	"github.com/scim-operator/scim-operator/test/pages"
)

const root = "../../"

// Every command of docs/kubectl-scim.md prints what the page shows. `UPDATE_PAGES=1 go test ./test/plugin -run TestPage` writes what
// is printed into the page.
func TestPage(t *testing.T) {
	page := root + pages.Plugin.Path
	text, err := os.ReadFile(page)
	must(t, err)
	bin := buildPlugin(t)
	env := writeEnv(t)
	played := pages.Play(t, pages.Shell{Root: root, Env: []string{
		"ENV=" + env, "TMPDIR=" + t.TempDir(), "PATH=" + bin + ":" + filepath.Dir(h.Env.Kubectl) + ":" + os.Getenv("PATH"),
	}}, page, string(text))
	if played != string(text) {
		must(t, os.WriteFile(page, []byte(played), 0o600))
	}
}

// buildPlugin makes the plugin as make install-plugin does, and returns its folder.
func buildPlugin(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	output, err := exec.CommandContext(t.Context(), "go", "build", "-o", dir+"/", root+"cmd/kubectl-scim").CombinedOutput()
	if err != nil {
		t.Fatalf("building the plugin: %v\n%s", err, output)
	}
	return dir
}

// writeEnv writes what `make run` writes into .run/env: for the quickstart's App and its generated token.
func writeEnv(t *testing.T) string {
	t.Helper()
	a := admin(t, harness.SampleNamespace)
	secret := &corev1.Secret{}
	harness.Eventually(t, limit, "the quickstart's token", func(ctx context.Context) error {
		return h.Env.Client.Get(ctx, client.ObjectKey{Namespace: harness.SampleNamespace, Name: "quickstart-token"}, secret)
	})
	h.Opens(t, h.Server, harness.App{Namespace: harness.SampleNamespace, Name: harness.SampleApp, Token: string(secret.Data["token"])})
	reached(t, h.Server.URL+"/scim/v2")
	path := filepath.Join(t.TempDir(), "env")
	must(t, os.WriteFile(path, fmt.Appendf(nil, "export SCIM_URL=%s/scim/v2\nexport SCIM_TOKEN=%s\nexport KUBECONFIG=%s\n",
		h.Server.URL, secret.Data["token"], a.kubeconfig), 0o600))
	return path
}

// withNamespace makes a namespace the default one of a kubeconfig.
func withNamespace(t *testing.T, data []byte, namespace string) []byte {
	t.Helper()
	kubeconfig, err := clientcmd.Load(data)
	must(t, err)
	kubeconfig.Contexts[kubeconfig.CurrentContext].Namespace = namespace
	data, err = clientcmd.Write(*kubeconfig)
	must(t, err)
	return data
}

// reached has the quickstart's App say under which URL clients reach it, as `make run` does, until the test ends.
func reached(t *testing.T, address string) {
	t.Helper()
	say := func(ctx context.Context, url string) error {
		app := &v1alpha1.App{}
		app.Namespace, app.Name = harness.SampleNamespace, harness.SampleApp
		return h.Env.Client.Patch(ctx, app, client.RawPatch(types.MergePatchType, fmt.Appendf(nil, `{"spec":{"externalURL":%q}}`, url)))
	}
	must(t, say(t.Context(), address))
	t.Cleanup(func() {
		if err := say(context.WithoutCancel(t.Context()), ""); err != nil {
			t.Error(err)
		}
	})
}
