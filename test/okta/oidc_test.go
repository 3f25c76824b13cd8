package okta_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/hack/localoperator"
	"github.com/scim-operator/scim-operator/internal/token"
	"github.com/scim-operator/scim-operator/test/issuer"
	okta "github.com/scim-operator/scim-operator/test/okta/client"
	"github.com/scim-operator/scim-operator/test/okta/harness"
)

// trusting is an App that takes tokens of an issuer of this test.
type trusting struct {
	*testing.T
	issuer *issuer.Issuer
	server *localoperator.Process
	app    harness.App
}

// newTrusting makes an issuer and an App. The App's audience is its own name.
func newTrusting(t *testing.T) *trusting {
	t.Helper()
	operator.ShowOnFailure(t)
	own, err := issuer.New()
	must(t, err)
	t.Cleanup(own.Close)
	f := &trusting{T: t, issuer: own, server: operator.Server}
	f.app = f.newApp("trusting")
	return f
}

// spec is what such an App says.
func (f *trusting) spec(audience string) *v1alpha1.ForeignIssuer {
	return &v1alpha1.ForeignIssuer{
		Issuer: f.issuer.URL, Audience: audience, AuthorizedParties: []string{"provisioning"}, CertificateAuthority: f.issuer.Authority(),
	}
}

func (f *trusting) newApp(name string) harness.App {
	f.Helper()
	namespace := operator.Env.Namespace(f.T, nil)
	return operator.NewApp(f.T, f.server, namespace, name, func(spec *v1alpha1.AppSpec) { spec.OIDC = f.spec(namespace + "/" + name) })
}

// token returns a token for the App, changed.
func (f *trusting) token(app harness.App, changed map[string]any) string {
	f.Helper()
	claims := map[string]any{"aud": app.Namespace + "/" + app.Name, "azp": "provisioning", "sub": "client-of-" + app.Name}
	for name, value := range changed {
		claims[name] = value
	}
	text, err := f.issuer.Token(claims)
	must(f.T, err)
	return text
}

// client returns a client of an App, at the URL that names it, with a token.
func (f *trusting) client(server *localoperator.Process, app harness.App, text string) *okta.Client {
	scim := operator.Client(server, "/apps/"+app.Namespace+"/"+app.Name+"/scim/v2", app, okta.AppWizard)
	scim.Authorization = "Bearer " + text
	f.Cleanup(scim.Close)
	return scim
}

// answers waits until a look-up is answered with a status and a detail that has the words.
func (f *trusting) answers(scim *okta.Client, status int, words ...string) *okta.Exchange {
	f.Helper()
	var answer *okta.Exchange
	soon(f.T, fmt.Sprintf("an answer %d", status), func(ctx context.Context) (err error) {
		if answer, err = scim.Do(ctx, http.MethodGet, "/Users?startIndex=1&count=2", nil); err != nil {
			return err
		}
		if answer.Status != status {
			return fmt.Errorf("answered %d: %s", answer.Status, answer.Text("detail"))
		}
		for _, word := range words {
			if !strings.Contains(answer.Text("detail"), word) {
				return fmt.Errorf("%q lacks %q", answer.Text("detail"), word)
			}
		}
		return nil
	})
	return answer
}

// reachable waits for the condition IssuerReachable, and returns the App.
func (f *trusting) reachable(app harness.App, status metav1.ConditionStatus, words string) *v1alpha1.App {
	f.Helper()
	object := &v1alpha1.App{}
	soon(f.T, "the condition IssuerReachable", func(ctx context.Context) error {
		if err := operator.Env.Client.Get(ctx, client.ObjectKey{Namespace: app.Namespace, Name: app.Name}, object); err != nil {
			return err
		}
		condition := meta.FindStatusCondition(object.Status.Conditions, v1alpha1.ConditionIssuerReachable)
		if condition == nil || condition.Status != status || !strings.Contains(condition.Message, words) {
			return fmt.Errorf("it is %+v, status.oidc %+v", condition, object.Status.OIDC)
		}
		return nil
	})
	return object
}

func (f *trusting) patch(app harness.App, patch string) {
	f.Helper()
	object := &v1alpha1.App{ObjectMeta: metav1.ObjectMeta{Namespace: app.Namespace, Name: app.Name}}
	must(f.T, operator.Env.Client.Patch(f.Context(), object, client.RawPatch("application/merge-patch+json", []byte(patch))))
}

// A client with tokens of the issuer provisions as Okta does, from the connection test to the rotation of the issuer's keys; the status
// and the audit trail name it. Then the App ends that.
func TestTokenOfAnIssuer(t *testing.T) {
	f := newTrusting(t)
	scim := f.client(f.server, f.app, f.token(f.app, nil))
	say(t)(scim.TestConnection(t.Context(), true))
	person := okta.Assign(okta.NewProfile(newName(t, "foreign")))
	say(t)(scim.AssignUser(t.Context(), person))
	subject := f.app.Subject(person.Profile.UserName)
	operator.AccessSoon(t, subject, harness.Everywhere(harness.Viewer))

	// The issuer signs with a new key from one moment to the next.
	next, err := issuer.NewKey("two", "ES256")
	must(t, err)
	f.issuer.Publish(append(f.issuer.Keys(), next)...)
	rotated := f.client(f.server, f.app, f.token(f.app, nil))
	f.answers(rotated, http.StatusOK)
	say(t)(rotated.Deactivate(t.Context(), person))
	operator.AccessNow(t, subject, harness.Nowhere())

	object := f.reachable(f.app, metav1.ConditionTrue, "read the issuer's keys")
	soon(t, "the last use", func(ctx context.Context) error {
		if err := operator.Env.Client.Get(ctx, client.ObjectKeyFromObject(object), object); err != nil {
			return err
		}
		if seen := object.Status.OIDC; seen.LastUsedTime == nil || seen.LastSubject != "client-of-trusting" {
			return fmt.Errorf("status.oidc is %+v", seen)
		}
		return nil
	})
	f.isAudited(person.ID)

	f.patch(f.app, `{"spec":{"oidc":{"suspended":true}}}`)
	f.answers(rotated, http.StatusUnauthorized, "suspended")
	f.patch(f.app, `{"spec":{"oidc":{"suspended":null}}}`)
	f.answers(rotated, http.StatusOK)
	f.patch(f.app, `{"spec":{"oidc":null}}`)
	f.answers(rotated, http.StatusUnauthorized)
	soon(t, "the end of the condition", func(ctx context.Context) error {
		err := operator.Env.Client.Get(ctx, client.ObjectKeyFromObject(object), object)
		if err == nil && (object.Status.OIDC != nil || meta.FindStatusCondition(object.Status.Conditions, v1alpha1.ConditionIssuerReachable) != nil) {
			err = fmt.Errorf("the status is %+v", object.Status)
		}
		return err
	})
}

// isAudited fails the test unless an audit line names the client.
func (f *trusting) isAudited(id string) {
	f.Helper()
	soon(f.T, "an audit line that names the client", func(context.Context) error {
		for raw := range strings.SplitSeq(operator.ServerLog.String(), "\n") {
			var line struct{ Logger, Action, ID, Subject, AuthorizedParty, TokenID string }
			if json.Unmarshal([]byte(raw), &line) == nil && line.Logger == "audit" && line.Action == "deactivate" && line.ID == id &&
				line.Subject == "client-of-trusting" && line.AuthorizedParty == "provisioning" && len(line.TokenID) == 8 {
				return nil
			}
		}
		return fmt.Errorf("there is none")
	})
}

// A token opens the App that it is for, at the URL that names the App, and nothing else.
func TestTokenOfAnIssuerElsewhere(t *testing.T) {
	f := newTrusting(t)
	other := f.newApp("other")
	plain := operator.NewApp(t, f.server, operator.Env.Namespace(t, nil), "plain", nil)
	mine := f.token(f.app, nil)
	f.answers(f.client(f.server, f.app, mine), http.StatusOK)
	f.answers(f.client(f.server, other, f.token(other, nil)), http.StatusOK)
	f.answers(f.client(f.server, other, mine), http.StatusUnauthorized, "aud")
	f.answers(f.client(f.server, plain, mine), http.StatusUnauthorized, "no ScimToken")
	common := operator.Client(f.server, "/scim/v2", f.app, okta.AppWizard)
	common.Authorization = "Bearer " + mine
	f.answers(common, http.StatusUnauthorized, "/apps/")
	for _, scheme := range []string{basic("okta", mine)} {
		scim := f.client(f.server, f.app, mine)
		scim.Authorization = scheme
		f.answers(scim, http.StatusUnauthorized)
	}
	// A ScimToken of App A on App B, at the URL of B.
	f.answers(f.client(f.server, other, f.app.Token), http.StatusUnauthorized, "does not open the App")
	for name, changed := range map[string]map[string]any{
		"azp": {"azp": "stranger"}, "expired": {"exp": time.Now().Add(-10 * time.Minute).Unix()}, "nbf": {"nbf": time.Now().Add(10 * time.Minute).Unix()},
	} {
		answer := f.answers(f.client(f.server, f.app, f.token(f.app, changed)), http.StatusUnauthorized, name)
		if strings.Contains(string(answer.Body), "provisioning") {
			t.Errorf("%s: the answer tells what the App asks for: %s", name, answer.Body)
		}
	}
	// Five minutes of clock skew, both ways.
	for _, changed := range []map[string]any{
		{"exp": time.Now().Add(-4 * time.Minute).Unix()}, {"iat": time.Now().Add(4 * time.Minute).Unix(), "nbf": time.Now().Add(4 * time.Minute).Unix()},
	} {
		f.answers(f.client(f.server, f.app, f.token(f.app, changed)), http.StatusOK)
	}
}

// Scopes and networks of spec.oidc bound such tokens.
func TestTokenOfAnIssuerIsBounded(t *testing.T) {
	f := newTrusting(t)
	scim := f.client(f.server, f.app, f.token(f.app, nil))
	f.answers(scim, http.StatusOK)
	f.patch(f.app, `{"spec":{"oidc":{"scopes":["read"]}}}`)
	soon(t, "the scope", func(ctx context.Context) error {
		answer, err := scim.Do(ctx, http.MethodPost, "/Users", []byte(userJSON(newName(t, "unscoped"), "")))
		if err == nil && (answer.Status != http.StatusForbidden || !strings.Contains(answer.Text("detail"), "spec.oidc.scopes")) {
			err = fmt.Errorf("answered %d: %s", answer.Status, answer.Text("detail"))
		}
		return err
	})
	f.answers(scim, http.StatusOK)
	f.patch(f.app, `{"spec":{"oidc":{"allowedCIDRs":["203.0.113.0/24"]}}}`)
	f.answers(scim, http.StatusUnauthorized, "127.0.0.1", "spec.oidc.allowedCIDRs")
}

// While the issuer is away, a server that has its keys goes on, and one that starts answers 429 and says why. Its ScimTokens open the App
// all along. The App's condition tells.
func TestIssuerIsAway(t *testing.T) {
	f := newTrusting(t)
	text := f.token(f.app, nil)
	f.answers(f.client(f.server, f.app, text), http.StatusOK)
	f.reachable(f.app, metav1.ConditionTrue, "read the issuer's keys")
	f.issuer.Fail(func(w http.ResponseWriter, _ *http.Request) bool {
		w.WriteHeader(http.StatusBadGateway)
		return true
	})
	fresh, err := operator.RunServerWith(t.Context(), harness.IssuersOnLoopback)
	must(t, err)
	harness.StopAtEnd(t, fresh)
	answer := f.answers(f.client(fresh, f.app, text), http.StatusTooManyRequests, "answered 502")
	if answer.Header.Get("Retry-After") == "" {
		t.Error("the answer does not say when to come again")
	}
	f.answers(f.client(f.server, f.app, text), http.StatusOK)
	f.answers(f.client(fresh, f.app, f.app.Token), http.StatusOK)
	f.reachable(f.app, metav1.ConditionFalse, "answered 502")
	f.issuer.Fail(nil)
	f.answers(f.client(fresh, f.app, text), http.StatusOK)
	f.reachable(f.app, metav1.ConditionTrue, "read the issuer's keys")

	// A server without --issuer-networks asks no address of this machine, and the condition tells of it: it is one of the servers.
	unlike, err := operator.RunServerWith(t.Context())
	must(t, err)
	harness.StopAtEnd(t, unlike)
	f.answers(f.client(unlike, f.app, text), http.StatusTooManyRequests, "--issuer-networks")
	f.reachable(f.app, metav1.ConditionFalse, "--issuer-networks")
}

// Each operation of a bulk request is judged when its turn comes: what a token began is done, and what it did not begin before it ended
// is refused, for each kind of token.
func TestTokenEndsDuringBulk(t *testing.T) {
	f := newTrusting(t)
	slow := operator.NewApp(t, f.server, operator.Env.Namespace(t, nil), "slow", func(spec *v1alpha1.AppSpec) {
		spec.OIDC = f.spec("slow")
		spec.Limits = v1alpha1.Limits{RequestsPerSecond: new(int32(25)), Burst: new(int32(25))}
	})
	const operations = 300 // eleven seconds at this rate
	begin := func(t *testing.T, scim *okta.Client) *okta.Exchange {
		t.Helper()
		list := make([]string, operations)
		for i := range list {
			list[i] = fmt.Sprintf(`{"method":"POST","path":"/Users","bulkId":"b%d","data":%s}`, i, userJSON(newName(t, "bulk"), ""))
		}
		body := `{"schemas":["urn:ietf:params:scim:api:messages:2.0:BulkRequest"],"Operations":[` + strings.Join(list, ",") + `]}`
		return do(t, scim, http.MethodPost, "/Bulk", body)
	}
	judge := func(t *testing.T, answer *okta.Exchange, words string) {
		t.Helper()
		done, refused := 0, 0
		for i := range operations {
			switch status := answer.Text("Operations", i, "status"); status {
			case "201":
				done++
			case "401":
				refused++
				if detail := answer.Text("Operations", i, "response", "detail"); !strings.Contains(detail, words) {
					t.Fatalf("operation %d is refused with %q", i, detail)
				}
			default:
				t.Fatalf("operation %d is answered %s", i, status)
			}
		}
		if answer.Status != http.StatusOK || done == 0 || refused == 0 {
			t.Errorf("answered %d, %d operations done, %d refused", answer.Status, done, refused)
		}
	}
	t.Run("a token of the issuer", func(t *testing.T) {
		f.answers(f.client(f.server, slow, f.token(slow, map[string]any{"aud": "slow"})), http.StatusOK)
		text := f.token(slow, map[string]any{"aud": "slow", "exp": time.Now().Add(5*time.Second - 5*time.Minute).Unix()})
		judge(t, begin(t, f.client(f.server, slow, text)), "has expired")
	})
	t.Run("a ScimToken that is suspended", func(t *testing.T) {
		own := slow
		own.Token = newText(t)
		object := operator.CreateToken(t, slow, v1alpha1.ScimTokenSpec{Digest: token.Digest(own.Token)})
		operator.Opens(t, f.server, own)
		users := func() int {
			list := &v1alpha1.UserList{}
			if err := operator.Env.Client.List(t.Context(), list, client.InNamespace(slow.Namespace)); err != nil {
				t.Error(err)
			}
			return len(list.Items)
		}
		before := users()
		go func() {
			for end := time.Now().Add(patience); users() < before+5 && time.Now().Before(end) && !t.Failed(); {
				time.Sleep(50 * time.Millisecond)
			}
			if err := operator.Env.Client.Patch(context.WithoutCancel(t.Context()), object, client.RawPatch("application/merge-patch+json", []byte(`{"spec":{"suspended":true}}`))); err != nil {
				t.Error(err)
			}
		}()
		judge(t, begin(t, f.client(f.server, slow, own.Token)), "is not any more")
	})
}

// A real issuer, zitadel/oidc's own server: a machine client gets an access token by client credentials, and provisions with it.
func TestTokenOfARealIssuer(t *testing.T) {
	operator.ShowOnFailure(t)
	namespace := operator.Env.Namespace(t, nil)
	audience := "https://scim.example.com/apps/" + namespace + "/real"
	provider, err := issuer.Start(t.Context(), t.TempDir(), audience)
	must(t, err)
	t.Cleanup(func() { must(t, provider.Stop()) })
	f := &trusting{T: t, server: operator.Server}
	f.app = operator.NewApp(t, f.server, namespace, "real", func(spec *v1alpha1.AppSpec) {
		spec.OIDC = &v1alpha1.ForeignIssuer{
			Issuer: provider.URL, Audience: audience, AuthorizedParties: []string{issuer.Client}, CertificateAuthority: provider.Authority,
		}
	})
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(provider.Authority))
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}
	defer transport.CloseIdleConnections()
	text, err := provider.Token(t.Context(), &http.Client{Transport: transport}, "openid", "scim")
	must(t, err)

	scim := f.client(f.server, f.app, text)
	f.answers(scim, http.StatusOK)
	say(t)(scim.TestConnection(t.Context(), true))
	person := okta.Assign(okta.NewProfile(newName(t, "real")))
	say(t)(scim.AssignUser(t.Context(), person))
	operator.AccessSoon(t, f.app.Subject(person.Profile.UserName), harness.Everywhere(harness.Viewer))
	say(t)(scim.Deactivate(t.Context(), person))
	operator.AccessNow(t, f.app.Subject(person.Profile.UserName), harness.Nowhere())
	f.reachable(f.app, metav1.ConditionTrue, "read the issuer's keys")
	f.patch(f.app, `{"spec":{"oidc":{"authorizedParties":["another"]}}}`)
	f.answers(scim, http.StatusUnauthorized, "authorizedParties")
}
