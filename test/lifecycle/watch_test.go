package lifecycle_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/config"
	"github.com/scim-operator/scim-operator/hack/localoperator"
	"github.com/scim-operator/scim-operator/test/okta/harness"
)

// says returns nil where the process is not ready and says so with the text.
func says(ctx context.Context, process *localoperator.Process, text string) error {
	err := process.Ready(ctx)
	if err == nil || !strings.Contains(err.Error(), text) {
		return fmt.Errorf("it says %w, without %q", err, text)
	}
	return nil
}

// Both processes notice that a kind they read is gone, name it, and recover by themselves when it is back.
func TestMissingKind(t *testing.T) {
	operator.ShowOnFailure(t)
	scheme := operator.Env.Scheme
	if err := apiextensionsv1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	crd := &apiextensionsv1.CustomResourceDefinition{ObjectMeta: metav1.ObjectMeta{Name: "membershards.scim-operator.io"}}
	if err := operator.Env.Client.Get(t.Context(), client.ObjectKeyFromObject(crd), crd); err != nil {
		t.Fatal(err)
	}
	before := crd.DeepCopy()
	crd.Annotations["scim-operator.io/allow-deletion"] = "true"
	if err := operator.Env.Client.Patch(t.Context(), crd, client.MergeFrom(before)); err != nil {
		t.Fatal(err)
	}
	if err := operator.Env.Client.Delete(t.Context(), crd); err != nil {
		t.Fatal(err)
	}
	for _, process := range []*localoperator.Process{operator.Server, operator.Controller} {
		took := harness.Eventually(t, patience, "a process that is not ready", func(ctx context.Context) error { return says(ctx, process, "MemberShard") })
		t.Logf("the %s says so after %s", process.Name(), took.Round(time.Millisecond))
	}
	if err := saysTryAgain(t.Context(), operator.Server.URL); err != nil {
		t.Errorf("the server answers %v", err)
	}
	// One that starts waits for it, and says for what.
	starting := make(chan error, 1)
	go func() {
		server, err := operator.RunServerWith(t.Context(), "--verbose")
		if err == nil {
			harness.StopAtEnd(t, server)
		}
		starting <- err
	}()
	time.Sleep(2 * time.Second)
	if err := localoperator.Install(t.Context(), operator.Env.Config, config.FS); err != nil {
		t.Fatal(err)
	}
	for _, process := range []*localoperator.Process{operator.Server, operator.Controller} {
		took := harness.Eventually(t, patience, "a process that is ready again", process.Ready)
		t.Logf("the %s is ready again after %s", process.Name(), took.Round(time.Millisecond))
	}
	if err := <-starting; err != nil {
		t.Error(err)
	}
}

// withoutTokens takes from the server's ServiceAccount the right to read ScimTokens, until restore is called or the test ends.
func withoutTokens(t *testing.T) (restore func()) {
	t.Helper()
	role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "scim-operator-server"}}
	if err := operator.Env.Client.Get(t.Context(), client.ObjectKeyFromObject(role), role); err != nil {
		t.Fatal(err)
	}
	before := role.DeepCopy()
	for i := range role.Rules {
		var kept []string
		for _, resource := range role.Rules[i].Resources {
			if resource != "scimtokens" {
				kept = append(kept, resource)
			}
		}
		if len(kept) == 0 {
			kept = []string{"none"}
		}
		role.Rules[i].Resources = kept
	}
	if err := operator.Env.Client.Update(t.Context(), role); err != nil {
		t.Fatal(err)
	}
	restore = sync.OnceFunc(func() {
		now := role.DeepCopy()
		now.Rules = before.Rules
		if err := operator.Env.Client.Update(context.WithoutCancel(t.Context()), now); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(restore)
	return restore
}

// failingWatches is what a process's metric says of a kind.
func failingWatches(ctx context.Context, process *localoperator.Process, kind string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, process.MetricsURL+"/metrics", nil)
	if err != nil {
		return "", err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", err
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	_, after, _ := strings.Cut(string(text), `scim_operator_failing_watches{kind="`+kind+`"} `)
	value, _, _ := strings.Cut(after, "\n")
	return value, err
}

// A running server with a watch that is refused for half a minute is not ready, says which kind and why, and answers 429; with the right
// back it serves again by itself.
func TestWatchThatIsRefused(t *testing.T) {
	operator.ShowOnFailure(t)
	restore := withoutTokens(t)
	if err := operator.Env.ControlPlane.RestartAPIServer(t.Context()); err != nil { // watches begin anew
		t.Fatal(err)
	}
	took := harness.Eventually(t, 2*time.Minute, "a server that says why it is not ready", func(ctx context.Context) error {
		if err := says(ctx, operator.Server, "ScimToken cannot be read for "); err != nil {
			return err
		}
		return says(ctx, operator.Server, "forbidden")
	})
	t.Logf("it says so after %s", took.Round(time.Second))
	if value, err := failingWatches(t.Context(), operator.Server, "ScimToken"); err != nil || value != "1" {
		t.Errorf("the metric has %q: %v", value, err)
	}
	if err := saysTryAgain(t.Context(), operator.Server.URL); err != nil {
		t.Errorf("the server answers %v", err)
	}
	restore()
	harness.Eventually(t, patience, "a server that is ready again", operator.Server.Ready)
	if value, err := failingWatches(t.Context(), operator.Server, "ScimToken"); err != nil || value != "0" {
		t.Errorf("with the right back the metric has %q: %v", value, err)
	}
	if err := operator.Env.AwaitPolicies(t.Context()); err != nil {
		t.Error(err)
	}
}

// A start that may not read what it needs ends at once when it is told to, and by itself after 100 seconds, with the cause in its last line.
func TestStartThatIsRefused(t *testing.T) {
	candidates := elect(t)
	app := newApp(t, time.Second)
	scim, leaver := operator.Client(operator.Server, "/scim/v2", app, oktaDialect), newPerson("leaver")
	if _, err := scim.AssignUser(t.Context(), leaver); err != nil {
		t.Fatal(err)
	}
	operator.AccessSoon(t, app.Subject(leaver.Profile.UserName), harness.Everywhere(harness.Viewer))
	if _, err := scim.Deactivate(t.Context(), leaver); err != nil {
		t.Fatal(err)
	}
	// The standby has seen the leaver, too, and has nothing to do with it: it stays ready.
	defer func() {
		for _, candidate := range candidates {
			if err := candidate.Ready(t.Context()); err != nil {
				t.Errorf("a controller that stands by or leads: %v", err)
			}
		}
	}()
	withoutTokens(t)
	time.Sleep(time.Second) // authorizers cache what they allowed

	endsWhenTold(t, startRefused(t))

	begun := time.Now()
	left := startRefused(t)
	select {
	case <-left.Done():
		lines := strings.Split(strings.TrimSpace(left.Tail()), "\n")
		last := lines[len(lines)-1]
		t.Logf("it ended after %s: %s", time.Since(begun).Round(time.Second), last)
		if !strings.Contains(last, "ScimToken") || !strings.Contains(last, "forbidden") || left.Wait() == nil {
			t.Errorf("it ended with %v and %q", left.Wait(), last)
		}
	case <-time.After(3 * time.Minute):
		_ = left.Kill()
		t.Error("it goes on after three minutes")
	}
}

// startRefused starts a server and returns once it says why it is not ready.
func startRefused(t *testing.T) *localoperator.Process {
	t.Helper()
	started, err := operator.BeginServer(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = started.Kill() })
	harness.Eventually(t, patience, "a server that is not ready", func(ctx context.Context) error { return says(ctx, started, "/readyz answered") })
	return started
}
