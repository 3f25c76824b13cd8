package harness

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/hack/localoperator"
	"github.com/scim-operator/scim-operator/internal/token"
	okta "github.com/scim-operator/scim-operator/test/okta/client"
)

// tokenLimit bounds how long a new token, of a new App too, may take to be accepted.
const tokenLimit = time.Minute

// Quickstart returns the sample's App with a new token.
func (h *Harness) Quickstart(t testing.TB, server *localoperator.Process) App {
	t.Helper()
	app := App{Namespace: SampleNamespace, Name: SampleApp, Prefix: v1alpha1.DefaultUsernamePrefix}
	app.Token = h.NewToken(t, app)
	h.Opens(t, server, app)
	return app
}

// NewApp makes an App like the quickstart's, with a user name prefix of its own, and a token for it. change may be nil.
func (h *Harness) NewApp(t testing.TB, server *localoperator.Process, namespace, name string, change func(*v1alpha1.AppSpec)) App {
	t.Helper()
	sample := &v1alpha1.App{}
	if err := h.Env.Client.Get(t.Context(), client.ObjectKey{Namespace: SampleNamespace, Name: SampleApp}, sample); err != nil {
		t.Fatal(err)
	}
	app := App{Namespace: namespace, Name: name, Prefix: namespace + "." + name + ":"}
	object := &v1alpha1.App{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Spec: *sample.Spec.DeepCopy()}
	object.Spec.Tokens = nil
	object.Spec.Kubernetes.UsernamePrefix = &app.Prefix
	object.Spec.Limits = Unlimited()
	if change != nil {
		change(&object.Spec)
	}
	if err := h.Env.Client.Create(t.Context(), object); err != nil {
		t.Fatal(err)
	}
	app.Token = h.NewToken(t, app)
	h.Opens(t, server, app)
	return app
}

// Unlimited are the highest limits: tests send more than an identity provider does. The server that RunServer runs takes them.
func Unlimited() v1alpha1.Limits {
	return v1alpha1.Limits{RequestsPerSecond: new(int32(1000)), Burst: new(int32(10000))}
}

// NewToken makes a ScimToken that holds a digest, as one in Git does, and returns the token.
func (h *Harness) NewToken(t testing.TB, app App) string {
	t.Helper()
	text, err := token.New()
	if err != nil {
		t.Fatal(err)
	}
	h.CreateToken(t, app, v1alpha1.ScimTokenSpec{Digest: token.Digest(text)})
	return text
}

// CreateToken makes a ScimToken, has the App accept it, and returns it.
func (h *Harness) CreateToken(t testing.TB, app App, spec v1alpha1.ScimTokenSpec) *v1alpha1.ScimToken {
	t.Helper()
	spec.App = app.Name
	object := &v1alpha1.ScimToken{
		ObjectMeta: metav1.ObjectMeta{Namespace: app.Namespace, GenerateName: app.Name + "-"},
		Spec:       spec,
	}
	if err := h.Env.CreateToken(t.Context(), object); err != nil {
		t.Fatal(err)
	}
	return object
}

// Opens waits until the server accepts the App's token, and returns how long that took.
func (h *Harness) Opens(t testing.TB, server *localoperator.Process, app App) time.Duration {
	t.Helper()
	scim := h.Client(server, "/scim/v2", app, okta.AppWizard)
	defer scim.Close()
	return Eventually(t, tokenLimit, "a new token of App "+app.Namespace+"/"+app.Name, func(ctx context.Context) error {
		_, err := scim.TestConnection(ctx, false)
		return err
	})
}

// Refuses waits until the server refuses a token, and returns how long that took.
func (h *Harness) Refuses(t testing.TB, server *localoperator.Process, app App, limit time.Duration) time.Duration {
	t.Helper()
	scim := h.Client(server, "/scim/v2", app, okta.AppWizard)
	defer scim.Close()
	return Eventually(t, limit, "the end of a token of App "+app.Namespace+"/"+app.Name, func(ctx context.Context) error {
		answer, err := scim.Do(ctx, http.MethodGet, "/Users?startIndex=1&count=2", nil)
		if err != nil {
			return err
		}
		return answer.ExpectError(http.StatusUnauthorized, "")
	})
}

// User reads the User object of a SCIM id.
func (h *Harness) User(t testing.TB, app App, id string) *v1alpha1.User {
	t.Helper()
	user := &v1alpha1.User{}
	if err := h.Env.Client.Get(t.Context(), client.ObjectKey{Namespace: app.Namespace, Name: id}, user); err != nil {
		t.Fatal(err)
	}
	return user
}

// RememberPassword has FindPasswords look for it.
func (h *Harness) RememberPassword(password string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.passwords = append(h.passwords, password)
}

// FindPasswords fails where a password that a client sent is in a log or in any object of the operator's kinds.
func (h *Harness) FindPasswords(ctx context.Context) error {
	h.mu.Lock()
	passwords := h.passwords
	h.mu.Unlock()
	places := map[string]string{"the server's log": h.ServerLog.String(), "the controller's log": h.ControllerLog.String()}
	for _, resource := range []string{"apps", "users", "groups", "nameclaims", "scimtokens", "approlebindings"} {
		raw, err := h.Clientset.CoreV1().RESTClient().Get().AbsPath("/apis/scim-operator.io/v1alpha1/" + resource).DoRaw(ctx)
		if err != nil {
			return err
		}
		places[resource+" on the API server"] = string(raw)
	}
	for place, text := range places {
		// JSON may hold & < > as escapes.
		plain := strings.NewReplacer(`\u0026`, "&", `\u003c`, "<", `\u003e`, ">").Replace(text)
		for _, password := range passwords {
			if strings.Contains(plain, password) {
				return fmt.Errorf("one of %d passwords sent is in %s", len(passwords), place)
			}
		}
	}
	return nil
}
