//go:build e2e

package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/hack/localoperator"
	"github.com/scim-operator/scim-operator/internal/token"
	okta "github.com/scim-operator/scim-operator/test/okta/client"
)

const (
	directory = "directory"
	appName   = "quickstart"
	// platformGroup is a pushed group that earns its members the role developer.
	platformGroup = "Platform"
)

// teams are the namespaces in which the App's roles hold.
var teams = []string{"team-a", "team-b"}

// app is the quickstart's App with a token that opens it.
type app struct {
	// token is what clients present; a rotation replaces it under their hands.
	token atomic.Pointer[string]
	count int
}

// installApp makes the quickstart's App, which the README's commands applied, ready for the players: a group earns a role,
// requests are more than Okta sends, and a token opens it.
func (e *environment) installApp(t *testing.T) {
	t.Helper()
	object := &v1alpha1.App{}
	key := client.ObjectKey{Namespace: directory, Name: appName}
	eventually(t, time.Minute, "the App with a group", func(ctx context.Context) error {
		if err := e.client.Get(ctx, key, object); err != nil {
			return err
		}
		for i := range object.Spec.Roles {
			if object.Spec.Roles[i].Name == "developer" {
				object.Spec.Roles[i].Groups = []string{platformGroup}
			}
		}
		object.Spec.Limits.RequestsPerSecond = ptr.To[int32](1000)
		return e.client.Update(ctx, object)
	})
	if e.app == nil {
		e.app = &app{}
	}
	_, text := e.makeToken(t)
	e.app.token.Store(&text)
}

// makeToken makes one more ScimToken. It returns the name of the former one and the new token's text.
func (e *environment) makeToken(t *testing.T) (former, text string) {
	t.Helper()
	text, err := token.New()
	if err != nil {
		t.Fatal(err)
	}
	former = fmt.Sprintf("e2e-%d", e.app.count)
	e.app.count++
	object := &v1alpha1.ScimToken{
		ObjectMeta: metav1.ObjectMeta{Namespace: directory, Name: fmt.Sprintf("e2e-%d", e.app.count)},
		Spec:       v1alpha1.ScimTokenSpec{App: appName, Digest: token.Digest(text)},
	}
	eventually(t, time.Minute, "a ScimToken", func(ctx context.Context) error {
		err := e.client.Create(ctx, object.DeepCopy())
		if apierrors.IsAlreadyExists(err) {
			err = errors.Join(err, e.client.Delete(ctx, object.DeepCopy())) // of an earlier run
		}
		if err != nil {
			return err
		}
		return localoperator.AcceptToken(ctx, e.client, object)
	})
	return former, text
}

// dropToken has the App accept a token no longer, and deletes it.
func (e *environment) dropToken(t *testing.T, name string) {
	t.Helper()
	eventually(t, time.Minute, "the App without ScimToken "+name, func(ctx context.Context) error {
		object := &v1alpha1.App{}
		if err := e.client.Get(ctx, client.ObjectKey{Namespace: directory, Name: appName}, object); err != nil {
			return err
		}
		object.Spec.Tokens = slices.DeleteFunc(object.Spec.Tokens, func(accepted v1alpha1.AcceptedToken) bool { return accepted.Name == name })
		return e.client.Update(ctx, object)
	})
	e.must(t, "kubectl", "-n", directory, "delete", "scimtoken", name)
}

// bearer puts the present token into each request that carries no credential.
type bearer struct {
	app  *app
	next http.RoundTripper
}

func (b bearer) RoundTrip(request *http.Request) (*http.Response, error) {
	if request.Header.Get("Authorization") == "" {
		request = request.Clone(request.Context())
		request.Header.Set("Authorization", "Bearer "+*b.app.token.Load())
	}
	return b.next.RoundTrip(request)
}

// awaitOpen waits until every replica takes a token, and the Service leads to them.
func (e *environment) awaitOpen(t *testing.T, text string) time.Duration {
	t.Helper()
	return eventually(t, time.Minute, "every replica takes the token", func(ctx context.Context) error {
		replicas, err := e.replicas(ctx)
		if err == nil && len(replicas) == 0 {
			err = errors.New("no server is ready")
		}
		replicas["the Service"] = e.url
		for _, url := range replicas {
			scim := e.newClient(url, nil)
			scim.Authorization = "Bearer " + text
			answer, failure := scim.Do(ctx, "GET", "/Users?startIndex=1&count=2", nil)
			if failure == nil {
				failure = answer.ExpectUsers()
			}
			scim.Close()
			err = errors.Join(err, failure)
		}
		return err
	})
}

// newClient returns a client of the Service or of one replica, counted by the meter where there is one.
func (e *environment) newClient(url string, m *meter) *okta.Client {
	scim := okta.New(url+"/scim/v2", "", okta.Template)
	scim.Retries = 1000
	var transport http.RoundTripper = newTransport(e.ca.roots)
	if m != nil {
		transport = metered{meter: m, next: transport}
	}
	scim.UseTransport(bearer{app: e.app, next: transport})
	return scim
}
