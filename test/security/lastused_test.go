package security_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	okta "github.com/scim-operator/scim-operator/test/okta/client"
	"github.com/scim-operator/scim-operator/test/okta/harness"
)

// lastUsed returns a ScimToken's last use and its resourceVersion.
func (n *tenant) lastUsed(t *testing.T, name string) (*metav1.Time, string) {
	t.Helper()
	object := &v1alpha1.ScimToken{}
	must(t, n.admin.Get(t.Context(), client.ObjectKey{Namespace: n.namespace, Name: name}, object))
	return object.Status.LastUsedTime, object.ResourceVersion
}

// Two servers that are asked all the time write the last use of a token once in a quarter of an hour, not once each.
func TestLastUseIsWrittenOnce(t *testing.T) {
	n := newTenant(t)
	second, err := operator.RunServerWith(t.Context())
	must(t, err)
	harness.StopAtEnd(t, second)
	app := n.newApp("used")
	object, text := n.newToken(t, app.Name, "used")
	app.Spec.Tokens = []v1alpha1.AcceptedToken{accepting(object)}
	must(t, errors.Join(n.admin.Create(t.Context(), app), n.admin.Create(t.Context(), object)))
	tokenSoon(t, object, v1alpha1.ReasonValid)
	if at, _ := n.lastUsed(t, object.Name); at != nil {
		t.Errorf("a token that was never used was used at %v", at)
	}

	ctx, stop := context.WithCancel(t.Context())
	var asking errgroup.Group
	for _, server := range []*okta.Client{
		operator.Client(operator.Server, "/scim/v2", harness.App{Token: text}, okta.AppWizard),
		operator.Client(second, "/scim/v2", harness.App{Token: text}, okta.AppWizard),
	} {
		asking.Go(func() error {
			for ctx.Err() == nil {
				answer, err := server.Do(ctx, "GET", "/Users?count=1", nil)
				if ctx.Err() == nil && err == nil && answer.Status >= 500 {
					return errors.New("a request failed")
				}
				time.Sleep(50 * time.Millisecond)
			}
			return nil
		})
	}
	begun := time.Now().Truncate(time.Second)
	written := func() (*metav1.Time, string) {
		t.Helper()
		var at *metav1.Time
		var version string
		harness.Eventually(t, time.Minute, "the time of the last use", func(context.Context) error {
			if at, version = n.lastUsed(t, object.Name); at == nil || at.Time.Before(begun) {
				return errors.New("it is not written")
			}
			return nil
		})
		return at, version
	}
	at, version := written()
	time.Sleep(12 * time.Second) // two looks of each server
	if again, now := n.lastUsed(t, object.Name); !again.Equal(at) || now != version {
		t.Errorf("written at %v, and again at %v", at, again)
	}

	// What is old enough is written again, once.
	must(t, n.admin.Status().Patch(t.Context(), object, mergePatch(`{"status":{"lastUsedTime":"2020-01-01T00:00:00Z"}}`)))
	at, version = written()
	time.Sleep(12 * time.Second)
	if again, now := n.lastUsed(t, object.Name); !again.Equal(at) || now != version {
		t.Errorf("written at %v, and again at %v", at, again)
	}
	stop()
	must(t, asking.Wait())
}

// The server's account writes nothing else into the status of a token: a digest there would open an App to a token of its own.
func TestServerWritesNothingButTheLastUse(t *testing.T) {
	n := newTenant(t)
	object, _ := n.newToken(t, "none", "token")
	must(t, n.admin.Create(t.Context(), object))
	tokenSoon(t, object, v1alpha1.ReasonAppNotFound)
	config, err := clientcmd.BuildConfigFromFlags("", operator.ServerKubeconfig)
	must(t, err)
	server, err := client.New(config, client.Options{Scheme: operator.Env.Scheme})
	must(t, err)
	const digest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	for _, patch := range []string{
		`{"status":{"digest":"` + digest + `"}}`,
		`{"status":{"digest":"` + digest + `","lastUsedTime":"2030-01-01T00:00:00Z"}}`,
		`{"status":{"conditions":null}}`,
		`{"status":{"observedGeneration":7}}`,
		`{"status":null}`,
	} {
		refusedBy(t, server.Status().Patch(t.Context(), object.DeepCopy(), mergePatch(patch)), "scim-operator-directory", "status of scimtokens")
	}
	must(t, server.Status().Patch(t.Context(), object.DeepCopy(), mergePatch(`{"status":{"lastUsedTime":"2030-01-01T00:00:00Z"}}`)))
	for _, tried := range []error{
		server.Patch(t.Context(), object.DeepCopy(), mergePatch(`{"spec":{"digest":"`+digest+`"}}`)),
		server.Status().Update(t.Context(), object.DeepCopy()),
		n.client.Status().Patch(t.Context(), object.DeepCopy(), mergePatch(`{"status":{"lastUsedTime":"2031-01-01T00:00:00Z"}}`)),
	} {
		if tried == nil {
			t.Error("let through")
		}
	}
}
