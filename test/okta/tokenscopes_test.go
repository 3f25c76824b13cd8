package okta_test

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/token"
	okta "github.com/scim-operator/scim-operator/test/okta/client"
	"github.com/scim-operator/scim-operator/test/okta/harness"
	"github.com/scim-operator/scim-operator/test/testenv"
)

// scoped returns a client with a token of these scopes, which the server accepts already.
func scoped(t *testing.T, app harness.App, scopes ...v1alpha1.TokenScope) (*okta.Client, *v1alpha1.ScimToken) {
	t.Helper()
	app.Token = newText(t)
	object := operator.CreateToken(t, app, v1alpha1.ScimTokenSpec{Digest: token.Digest(app.Token), Scopes: scopes})
	scim := operator.Client(operator.Server, "/scim/v2", app, okta.AppWizard)
	soon(t, "the scoped token", func(ctx context.Context) error {
		answer, err := scim.Do(ctx, http.MethodGet, "/ServiceProviderConfig", nil)
		if err == nil && answer.Status != http.StatusOK {
			err = fmt.Errorf("answered %d", answer.Status)
		}
		return err
	})
	return scim, object
}

// A token does what its scopes say, by every way into the directory, and is told which scope lacks.
func TestTokenScopes(t *testing.T) {
	full, app := ownApp(t, okta.AppWizard)
	id := create(t, full, userJSON(newName(t, "scoped"), "")).Text("id")
	group := do(t, full, http.MethodPost, "/Groups", `{"schemas":["`+okta.SchemaGroup+`"],"displayName":"`+newName(t, "scoped")+`"}`).Text("id")
	search := `{"schemas":["urn:ietf:params:scim:api:messages:2.0:SearchRequest"],"count":1}`
	rename := patchOf(`{"op":"replace","value":{"title":"Any"}}`)
	type request struct{ kind, method, path, body string }
	requests := []request{
		{"", http.MethodGet, "/Schemas", ""},
		{"readUsers", http.MethodGet, "/Users?startIndex=1&count=2", ""},
		{"readUsers", http.MethodGet, "/Users/" + id, ""},
		{"readUsers", http.MethodPost, "/Users/.search", search},
		{"readGroups", http.MethodGet, "/Groups/" + group, ""},
		{"readGroups", http.MethodPost, "/Groups/.search", search},
		{"read", http.MethodPost, "/.search", search},
		{"users", http.MethodPost, "/Users", ""},
		{"users", http.MethodPut, "/Users/" + id, ""},
		{"users", http.MethodPatch, "/Users/" + id, rename},
		{"users", http.MethodDelete, "/Users/none-0000000000", ""},
		{"groups", http.MethodPost, "/Groups", ""},
		{"groups", http.MethodPut, "/Groups/" + group, ""},
		{"groups", http.MethodPatch, "/Groups/" + group, patchOf(`{"op":"replace","value":{"displayName":"` + newName(t, "scoped") + `"}}`)},
		{"groups", http.MethodDelete, "/Groups/none-0000000000", ""},
	}
	for scopes, kinds := range map[v1alpha1.TokenScope]string{
		"":                        "readUsers readGroups read users groups",
		v1alpha1.TokenScopeRead:   "readUsers readGroups read",
		v1alpha1.TokenScopeUsers:  "readUsers users",
		v1alpha1.TokenScopeGroups: "readGroups groups",
	} {
		t.Run("scopes "+cmp.Or(string(scopes), "none"), func(t *testing.T) {
			var list []v1alpha1.TokenScope
			if scopes != "" {
				list = append(list, scopes)
			}
			scim, _ := scoped(t, app, list...)
			for _, each := range requests {
				answer := do(t, scim, each.method, each.path, each.body)
				may := each.kind == "" || strings.Contains(" "+kinds+" ", " "+each.kind+" ")
				if refused := answer.Status == http.StatusForbidden; refused == may {
					t.Errorf("%s %s is answered %d: %s", each.method, each.path, answer.Status, answer.Text("detail"))
				}
				if !may && !strings.Contains(answer.Text("detail"), "scope") {
					t.Errorf("%s %s: the answer does not speak of scopes: %s", each.method, each.path, answer.Text("detail"))
				}
			}
			bulk := do(t, scim, http.MethodPost, "/Bulk", `{"schemas":["urn:ietf:params:scim:api:messages:2.0:BulkRequest"],"Operations":[`+
				`{"method":"PATCH","path":"/Users/`+id+`","data":`+rename+`},{"method":"DELETE","path":"/Groups/none-0000000000"}]}`)
			for i, kind := range []string{"users", "groups"} {
				may := strings.Contains(" "+kinds+" ", " "+kind+" ")
				if status := bulk.Text("Operations", i, "status"); (status == "403") == may {
					t.Errorf("operation %d of the bulk request is answered %s", i, status)
				}
			}
		})
	}
	// The entry of the App bounds what the ScimToken says, and a change of either holds at once.
	t.Run("the App's entry", func(t *testing.T) {
		scim, object := scoped(t, app)
		write := func() int { return do(t, scim, http.MethodPatch, "/Users/"+id, rename).Status }
		if got := write(); got != http.StatusOK {
			t.Fatalf("answered %d", got)
		}
		listed := &v1alpha1.App{}
		must(t, operator.Env.Client.Get(t.Context(), client.ObjectKey{Namespace: app.Namespace, Name: app.Name}, listed))
		before := listed.DeepCopy()
		for i := range listed.Spec.Tokens {
			if listed.Spec.Tokens[i].Name == object.Name {
				listed.Spec.Tokens[i].Scopes = []v1alpha1.TokenScope{v1alpha1.TokenScopeRead}
			}
		}
		must(t, operator.Env.Client.Patch(t.Context(), listed, client.MergeFrom(before)))
		soon(t, "the narrower entry", func(context.Context) error {
			if got := write(); got != http.StatusForbidden {
				return fmt.Errorf("answered %d", got)
			}
			return nil
		})
		must(t, operator.Env.Client.Patch(t.Context(), object, client.RawPatch("application/merge-patch+json", []byte(`{"spec":{"scopes":["users","groups","read"]}}`))))
		time.Sleep(time.Second)
		if got := write(); got != http.StatusForbidden {
			t.Errorf("the ScimToken widened what the App's entry bounds: answered %d", got)
		}
	})
}

// Networks of a token hold by the address that a trusted proxy tells, and by no header of the client itself.
func TestTokenNetworks(t *testing.T) {
	_, app := ownApp(t, okta.AppWizard)
	trusting, err := operator.RunServerWith(t.Context(), "--trusted-proxies=127.0.0.1")
	must(t, err)
	harness.StopAtEnd(t, trusting)
	app.Token = newText(t)
	operator.CreateToken(t, app, v1alpha1.ScimTokenSpec{Digest: token.Digest(app.Token), AllowedCIDRs: []string{"203.0.113.0/24", "2001:db8::/32"}})
	behind := operator.Client(trusting, "/scim/v2", app, okta.AppWizard)
	direct := operator.Client(operator.Server, "/scim/v2", app, okta.AppWizard)
	from := func(scim *okta.Client, address string) *okta.Exchange {
		return do(t, scim, http.MethodGet, "/Users?startIndex=1&count=2", "", okta.WithHeader("X-Forwarded-For", address))
	}
	soon(t, "the token", func(context.Context) error {
		if got := from(behind, "203.0.113.9").Status; got != http.StatusOK {
			return fmt.Errorf("answered %d", got)
		}
		return nil
	})
	for address, want := range map[string]int{
		"2001:db8::9": http.StatusOK, "198.51.100.9, 203.0.113.9": http.StatusOK, "203.0.113.9, 198.51.100.9": http.StatusUnauthorized,
		"198.51.100.9": http.StatusUnauthorized, "": http.StatusUnauthorized, "nonsense": http.StatusUnauthorized,
	} {
		answer := from(behind, address)
		if answer.Status != want {
			t.Errorf("X-Forwarded-For %q is answered %d, want %d", address, answer.Status, want)
		}
		if want != http.StatusOK && !strings.Contains(answer.Text("detail"), "allowedCIDRs") {
			t.Errorf("X-Forwarded-For %q: %s", address, answer.Text("detail"))
		}
	}
	soon(t, "the refusal by address", func(context.Context) error { // this server may not have seen the token yet
		answer := from(direct, "203.0.113.9")
		if answer.Status != http.StatusUnauthorized || !strings.Contains(answer.Text("detail"), "127.0.0.1") {
			return fmt.Errorf("a client that tells its address itself is answered %d: %s", answer.Status, answer.Text("detail"))
		}
		return nil
	})
}

// A typing error is told from a wrong token, and the log has no more of the token than the answer.
func TestTypingErrorOfAToken(t *testing.T) {
	_, app := ownApp(t, okta.AppWizard)
	scim := operator.Client(operator.Server, "/scim/v2", app, okta.AppWizard)
	cut := app.Token[:len(app.Token)-3]
	for presented, want := range map[string]string{cut: "checksum", newText(t): "no ScimToken"} {
		answer := do(t, scim, http.MethodGet, "/Users?count=1", "", okta.WithHeader("Authorization", "Bearer "+presented))
		if answer.Status != http.StatusUnauthorized || !strings.Contains(answer.Text("detail"), want) {
			t.Errorf("answered %d: %s, want %q", answer.Status, answer.Text("detail"), want)
		}
		for place, text := range map[string]string{"answer": string(answer.Body), "log": operator.ServerLog.String()} {
			if strings.Contains(text, presented[5:20]) {
				t.Errorf("a part of the token is in the %s", place)
			}
		}
	}
}

// What an administrator changes of a token, or makes and deletes, holds on every replica within a second.
func TestTokenChangesOnEveryReplica(t *testing.T) {
	_, app := ownApp(t, okta.AppWizard)
	second, err := operator.RunServer(t.Context(), "")
	must(t, err)
	harness.StopAtEnd(t, second)
	on := func(app harness.App) []*okta.Client {
		return []*okta.Client{operator.Client(operator.Server, "/scim/v2", app, okta.AppWizard), operator.Client(second, "/scim/v2", app, okta.AppWizard)}
	}
	both := func(replicas []*okta.Client, want int) {
		harness.EventuallyEvery(t, 20*time.Millisecond, patience, fmt.Sprintf("%d on both replicas", want), func(ctx context.Context) error {
			for i, scim := range replicas {
				answer, err := scim.Do(ctx, http.MethodPatch, "/Users/none-0000000000", []byte(patchOf(`{"op":"replace","value":{"title":"x"}}`)))
				if err != nil {
					return err
				}
				if answer.Status != want {
					return fmt.Errorf("replica %d answers %d", i+1, answer.Status)
				}
			}
			return nil
		})
	}
	// within plays both of two changes, the one that takes and the one that gives back, and measures the slower one.
	within := func(what string, replicas []*okta.Client, off func() error, refusal int, back func() error) {
		testenv.MostlyWithin(t, what, time.Second, 3, func() time.Duration {
			from := time.Now()
			must(t, off())
			both(replicas, refusal)
			between := time.Now()
			must(t, back())
			both(replicas, http.StatusNotFound)
			return max(between.Sub(from), time.Since(between))
		})
	}

	app.Token = newText(t)
	object := operator.CreateToken(t, app, v1alpha1.ScimTokenSpec{Digest: token.Digest(app.Token)})
	replicas := on(app)
	both(replicas, http.StatusNotFound)
	patch := func(spec string) func() error {
		return func() error {
			return operator.Env.Client.Patch(t.Context(), object, client.RawPatch("application/merge-patch+json", []byte(`{"spec":`+spec+`}`)))
		}
	}
	for _, change := range []struct {
		name, off, back string
		refusal         int
	}{
		{"suspended and resumed", `{"suspended":true}`, `{"suspended":false}`, http.StatusUnauthorized},
		{"scopes narrowed and widened", `{"scopes":["read"]}`, `{"scopes":null}`, http.StatusForbidden},
		{"networks that this client is not in, and none", `{"allowedCIDRs":["203.0.113.0/24"]}`, `{"allowedCIDRs":null}`, http.StatusUnauthorized},
		{"expired and prolonged", `{"expiresAt":"2020-01-01T00:00:00Z"}`, `{"expiresAt":null}`, http.StatusUnauthorized},
	} {
		within(change.name, replicas, patch(change.off), change.refusal, patch(change.back))
	}
	remove := func() error {
		return operator.Env.Client.Delete(t.Context(), &v1alpha1.ScimToken{ObjectMeta: metav1.ObjectMeta{Namespace: object.Namespace, Name: object.Name}})
	}
	within("deleted and made anew", replicas, remove, http.StatusUnauthorized, func() error {
		// Under its name, which the App lists with this digest.
		return operator.Env.Client.Create(t.Context(), &v1alpha1.ScimToken{
			ObjectMeta: metav1.ObjectMeta{Namespace: object.Namespace, Name: object.Name}, Spec: v1alpha1.ScimTokenSpec{App: app.Name, Digest: token.Digest(app.Token)},
		})
	})
	must(t, remove())
	both(replicas, http.StatusUnauthorized)
}
