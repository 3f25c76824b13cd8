package scimserver

import (
	"errors"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/token"
)

func TestBearerToken(t *testing.T) {
	for header, want := range map[string]string{
		"Bearer abc":              "abc",
		"bearer abc":              "abc",
		"abc":                     "abc",
		"Bearer Bearer abc":       "abc",
		"  Bearer   bearer  abc ": "abc",
		"":                        "",
		"Bearer":                  "",
		"Bearer ":                 "",
		"Basic dXNlcjpwYXNz":      "",
		"Bearer a b":              "",
	} {
		if got := bearerToken(header); got != want {
			t.Errorf("bearerToken(%q) = %q, want %q", header, got, want)
		}
	}
}

func scimToken(name, app, secret string, change func(*v1alpha1.ScimToken)) *v1alpha1.ScimToken {
	t := &v1alpha1.ScimToken{
		ObjectMeta: metav1.ObjectMeta{Namespace: "directory", Name: name},
		Spec:       v1alpha1.ScimTokenSpec{App: app, Digest: token.Digest(secret)},
		Status:     v1alpha1.ScimTokenStatus{Digest: token.Digest(secret)},
	}
	if change != nil {
		change(t)
	}
	return t
}

// heldCredentials are tokens and the Apps that the test gives them.
func heldCredentials(now time.Time, apps map[string][]v1alpha1.AcceptedToken, tokens ...*v1alpha1.ScimToken) *credentials {
	held := newCredentials(func(name types.NamespacedName) (*v1alpha1.App, bool) {
		accepted, found := apps[name.Name]
		return &v1alpha1.App{Spec: v1alpha1.AppSpec{Tokens: accepted}}, found && name.Namespace == "directory"
	})
	held.now = func() time.Time { return now }
	for _, each := range tokens {
		held.replace(nil, each)
	}
	return held
}

func presenting(t *testing.T, text string) *http.Request {
	t.Helper()
	request, err := http.NewRequest(http.MethodGet, "/Users", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+text)
	return request
}

func TestAuthenticate(t *testing.T) {
	noon := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	at := func(d time.Duration) *metav1.Time { return &metav1.Time{Time: noon.Add(d)} }
	fromSecret := func(t *v1alpha1.ScimToken) {
		t.Spec.Digest, t.Spec.SecretRef = "", &v1alpha1.SecretKeyReference{Name: "s"}
	}
	tokens := []*v1alpha1.ScimToken{
		scimToken("plain", "one", "plain", nil),
		scimToken("rotated", "one", "rotated", nil),
		scimToken("suspended", "one", "suspended", func(t *v1alpha1.ScimToken) { t.Spec.Suspended = true }),
		scimToken("expired", "one", "expired", func(t *v1alpha1.ScimToken) { t.Spec.ExpiresAt = at(0) }),
		scimToken("expiring", "one", "expiring", func(t *v1alpha1.ScimToken) { t.Spec.ExpiresAt = at(time.Second) }),
		scimToken("early", "one", "early", func(t *v1alpha1.ScimToken) { t.Spec.NotBefore = at(time.Second) }),
		scimToken("due", "one", "due", func(t *v1alpha1.ScimToken) { t.Spec.NotBefore = at(0) }),
		scimToken("deleting", "one", "deleting", func(t *v1alpha1.ScimToken) { t.DeletionTimestamp = at(0) }),
		scimToken("withdrawn", "one", "withdrawn", func(t *v1alpha1.ScimToken) { t.Status.Digest = "" }),
		scimToken("changed", "one", "changed", func(t *v1alpha1.ScimToken) { t.Spec.Digest = token.Digest("other") }),
		scimToken("shared", "one", "shared", nil),
		scimToken("shared", "two", "shared", nil),
		scimToken("twice-1", "one", "twice", nil),
		scimToken("twice-2", "one", "twice", nil),
		scimToken("kept", "one", "kept", fromSecret),
		scimToken("pinned", "one", "pinned", fromSecret),
		scimToken("repinned", "one", "repinned", fromSecret),
		// What no App accepts.
		scimToken("unlisted", "one", "unlisted", nil),
		scimToken("nameless", "one", "nameless", nil),
		scimToken("outdated", "one", "outdated", nil),
		scimToken("homeless", "gone", "homeless", nil),
	}
	tokens[11].Name = "shared-too"
	accepted := []v1alpha1.AcceptedToken{{Name: "kept"}, {Name: "nameless"}, {Name: "outdated", Digest: token.Digest("former")},
		{Name: "pinned", Digest: token.Digest("pinned")}, {Name: "repinned", Digest: token.Digest("former")}}
	for _, name := range []string{"plain", "rotated", "suspended", "expired", "expiring", "early", "due", "deleting", "withdrawn", "changed", "shared"} {
		accepted = append(accepted, v1alpha1.AcceptedToken{Name: name, Digest: token.Digest(name)})
	}
	for _, name := range []string{"twice-1", "twice-2"} {
		accepted = append(accepted, v1alpha1.AcceptedToken{Name: name, Digest: token.Digest("twice")})
	}
	held := heldCredentials(noon, map[string][]v1alpha1.AcceptedToken{
		"one": accepted, "two": {{Name: "shared-too", Digest: token.Digest("shared")}, {Name: "unlisted", Digest: token.Digest("unlisted")}},
	}, tokens...)
	for presented, want := range map[string]error{
		"plain": nil, "rotated": nil, "expiring": nil, "due": nil, "twice": nil, "kept": nil, "pinned": nil,
		"": errNoCredentials, "suspended": errBadCredentials, "expired": errBadCredentials, "early": errBadCredentials,
		"deleting": errBadCredentials, "withdrawn": errBadCredentials, "changed": errBadCredentials, "other": errBadCredentials,
		"shared": errBadCredentials, "unknown": errBadCredentials, token.Digest("plain"): errBadCredentials,
		"unlisted": errBadCredentials, "nameless": errBadCredentials, "outdated": errBadCredentials, "homeless": errBadCredentials,
		"repinned": errBadCredentials,
	} {
		opened, err := held.authenticate(presenting(t, presented), netip.Addr{}, types.NamespacedName{})
		if !errors.Is(err, want) {
			t.Errorf("token %q: %v, want %v", presented, err, want)
			continue
		}
		if want == nil && opened.app != (types.NamespacedName{Namespace: "directory", Name: "one"}) {
			t.Errorf("token %q opens %v", presented, opened.app)
		}
	}

	held.replace(tokens[0], nil)
	if _, err := held.authenticate(presenting(t, "plain"), netip.Addr{}, types.NamespacedName{}); !errors.Is(err, errBadCredentials) {
		t.Errorf("a deleted token is still accepted: %v", err)
	}
}

// A URL that names an App is answered by that App's tokens, whatever tokens other Apps have.
func TestAuthenticateForAnAppOfTheURL(t *testing.T) {
	digest := token.Digest("shared")
	second := scimToken("b", "two", "shared", nil)
	held := heldCredentials(time.Now(), map[string][]v1alpha1.AcceptedToken{
		"one": {{Name: "a", Digest: digest}}, "two": {{Name: "b", Digest: digest}}, "three": nil,
	}, scimToken("a", "one", "shared", nil), second)
	for name, want := range map[string]error{"one": nil, "two": nil, "three": errWrongApp, "": errBadCredentials} {
		named := types.NamespacedName{}
		if name != "" {
			named = types.NamespacedName{Namespace: "directory", Name: name}
		}
		opened, err := held.authenticate(presenting(t, "shared"), netip.Addr{}, named)
		if !errors.Is(err, want) || err == nil && opened.app != named {
			t.Errorf("App %q of the URL: opens %v, %v, want %v", name, opened.app, err, want)
		}
	}
	// The controller left the digest to the App that had it first: the other one's token opens its App at its own URL.
	later := second.DeepCopy()
	later.Status.OwnURLOnly = true
	held.replace(second, later)
	for name, want := range map[string]string{"": "one", "one": "one", "two": "two"} {
		named := types.NamespacedName{}
		if name != "" {
			named = types.NamespacedName{Namespace: "directory", Name: name}
		}
		if opened, err := held.authenticate(presenting(t, "shared"), netip.Addr{}, named); err != nil || opened.app.Name != want {
			t.Errorf("App %q of the URL: opens %v, %v, want %v", name, opened.app, err, want)
		}
	}
	held.replace(later, nil)
	if opened, err := held.authenticate(presenting(t, "shared"), netip.Addr{}, types.NamespacedName{}); err != nil || opened.app.Name != "one" {
		t.Errorf("the only App: opens %v, %v", opened.app, err)
	}
}

// A token with networks opens its App for clients in them alone; what is told elsewhere names the address, and no network.
func TestAuthenticateByAddress(t *testing.T) {
	held := heldCredentials(time.Now(), map[string][]v1alpha1.AcceptedToken{"one": {{Name: "bound", Digest: token.Digest("bound")}}},
		scimToken("bound", "one", "bound", func(t *v1alpha1.ScimToken) {
			t.Spec.AllowedCIDRs = []string{"203.0.113.0/24", "2001:db8::/32", "nonsense"}
		}))
	for address, want := range map[string]bool{
		"203.0.113.7": true, "203.0.114.7": false, "2001:db8::7": true, "2001:db9::7": false, "127.0.0.1": false, "": false,
	} {
		from, _ := netip.ParseAddr(address)
		_, err := held.authenticate(presenting(t, "bound"), from, types.NamespacedName{})
		var elsewhere addressError
		switch {
		case want && err != nil:
			t.Errorf("from %s: %v", address, err)
		case !want && !errors.As(err, &elsewhere):
			t.Errorf("from %s: %v, want a refusal by the address", address, err)
		case !want && (strings.Contains(err.Error(), "203.0.113") || !strings.Contains(err.Error(), address)):
			t.Errorf("from %s: %v", address, err)
		}
		if _, err := held.authenticate(presenting(t, "unknown"), from, types.NamespacedName{}); !errors.Is(err, errBadCredentials) {
			t.Errorf("an unknown token from %s: %v", address, err)
		}
	}
}

// A token that was cut or mistyped is told from a wrong one, by its own text alone.
func TestAuthenticateTellsTypingErrors(t *testing.T) {
	text, err := token.New()
	if err != nil {
		t.Fatal(err)
	}
	held := heldCredentials(time.Now(), nil)
	for presented, want := range map[string]error{
		text: errBadCredentials, text[:len(text)-1]: errMistyped, text + "x": errMistyped, text[:20]: errMistyped,
		strings.Replace(text, "scim_", "scim_ ", 1): errNoCredentials, "another": errBadCredentials,
	} {
		if _, err := held.authenticate(presenting(t, presented), netip.Addr{}, types.NamespacedName{}); !errors.Is(err, want) {
			t.Errorf("%d characters: %v, want %v", len(presented), err, want)
		}
	}
}

// Scopes of the ScimToken and of the App's entry meet in what both allow; several entries and several ScimTokens add up.
func TestScopesMeet(t *testing.T) {
	type list = []v1alpha1.TokenScope
	for _, test := range []struct {
		own, entry list
		want       scopes
	}{
		{nil, nil, allScopes},
		{list{"read"}, nil, readsUsers | readsGroups},
		{nil, list{"read"}, readsUsers | readsGroups},
		{list{"users"}, list{"read"}, readsUsers},
		{list{"users"}, list{"groups"}, 0},
		{list{"users", "groups"}, list{"groups"}, readsGroups | writesGroups},
		{list{"of-a-later-version"}, nil, 0},
	} {
		held := heldCredentials(time.Now(), map[string][]v1alpha1.AcceptedToken{
			"one": {{Name: "scoped", Digest: token.Digest("scoped"), Scopes: test.entry}},
		}, scimToken("scoped", "one", "scoped", func(t *v1alpha1.ScimToken) { t.Spec.Scopes = test.own }))
		opened, err := held.authenticate(presenting(t, "scoped"), netip.Addr{}, types.NamespacedName{})
		if err != nil || opened.scopes != test.want {
			t.Errorf("own %v, entry %v: %b, %v, want %b", test.own, test.entry, opened.scopes, err, test.want)
		}
	}
	held := heldCredentials(time.Now(), map[string][]v1alpha1.AcceptedToken{"one": {
		{Name: "a", Digest: token.Digest("both"), Scopes: list{"read"}}, {Name: "a", Digest: token.Digest("both"), Scopes: list{"users"}},
		{Name: "b", Digest: token.Digest("other"), Scopes: list{"groups"}},
	}}, scimToken("a", "one", "both", nil))
	if opened, err := held.authenticate(presenting(t, "both"), netip.Addr{}, types.NamespacedName{}); err != nil || opened.scopes != readsUsers|readsGroups|writesUsers {
		t.Errorf("two entries: %b, %v", opened.scopes, err)
	}
}

// A former token ends on time by the server's own clock, also while no controller runs; it ends with its ScimToken and its entry, too.
func TestFormerTokenEndsOnTime(t *testing.T) {
	noon := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	rotated := scimToken("rotated", "one", "newest", func(t *v1alpha1.ScimToken) {
		t.Spec.Digest, t.Spec.Generate = "", &v1alpha1.GenerateToken{SecretName: "s"}
		t.Status.Rotation = &v1alpha1.TokenRotationStatus{Former: &v1alpha1.FormerToken{Digest: token.Digest("former"), Until: metav1.NewTime(noon)}}
	})
	apps := map[string][]v1alpha1.AcceptedToken{"one": {{Name: "rotated"}}}
	held := heldCredentials(noon, apps, rotated)
	at := func(now time.Time, text string, want error) {
		t.Helper()
		held.now = func() time.Time { return now }
		if _, err := held.authenticate(presenting(t, text), netip.Addr{}, types.NamespacedName{}); !errors.Is(err, want) {
			t.Errorf("%s at %s: %v, want %v", text, now, err, want)
		}
	}
	at(noon.Add(-time.Nanosecond), "former", nil)
	at(noon, "former", errBadCredentials)
	at(noon, "newest", nil)
	apps["one"] = []v1alpha1.AcceptedToken{{Name: "rotated", Digest: token.Digest("newest")}}
	at(noon.Add(-time.Hour), "former", errBadCredentials)
	at(noon, "newest", nil)
	apps["one"] = []v1alpha1.AcceptedToken{{Name: "rotated"}}
	held.replace(rotated, nil)
	at(noon.Add(-time.Hour), "former", errBadCredentials)
	if len(held.byID) != 0 {
		t.Errorf("%d digests of a deleted ScimToken are kept", len(held.byID))
	}
}

// As a password a token opens its App with spec.basic alone, and with the user name of that or the token's own ID.
func TestAuthenticateBasic(t *testing.T) {
	accepted := map[string][]v1alpha1.AcceptedToken{}
	for _, name := range []string{"named", "unnamed", "off", "suspended"} {
		accepted["one"] = append(accepted["one"], v1alpha1.AcceptedToken{Name: name, Digest: token.Digest(name)})
	}
	with := func(userName string) func(*v1alpha1.ScimToken) {
		return func(t *v1alpha1.ScimToken) { t.Spec.Basic = &v1alpha1.BasicAuthentication{UserName: userName} }
	}
	suspended := scimToken("suspended", "one", "suspended", with("okta"))
	suspended.Spec.Suspended = true
	held := heldCredentials(time.Now(), accepted, suspended, scimToken("off", "one", "off", nil),
		scimToken("named", "one", "named", with("okta")), scimToken("unnamed", "one", "unnamed", with("")))
	id := token.ID(token.Digest("unnamed"))
	for _, test := range []struct {
		user, password string
		want           error
	}{
		{"okta", "named", nil}, {"Okta", "named", errBadBasic}, {"", "named", errBadBasic}, {token.ID(token.Digest("named")), "named", errBadBasic},
		{id, "unnamed", nil}, {"", "unnamed", errBadBasic}, {"okta", "unnamed", errBadBasic},
		{"okta", "off", errBasicOff}, {"okta", "suspended", errBadBasic}, {"okta", "unknown", errBadBasic}, {"unknown", "unknown", errBadBasic},
		{"okta", "", errNoBasic}, {"okta", "scim_cut", errMistyped}, {"okta", token.Digest("named"), errBadBasic},
	} {
		request := presenting(t, "")
		request.SetBasicAuth(test.user, test.password)
		opened, err := held.authenticate(request, netip.Addr{}, types.NamespacedName{})
		if !errors.Is(err, test.want) || err == nil && (opened.app.Name != "one" || !opened.basic) {
			t.Errorf("%s:%s opens %v, %v, want %v", test.user, test.password, opened.app, err, test.want)
		}
	}
	for header, want := range map[string]error{"Basic": errNoBasic, "Basic ???": errNoBasic, "basic b2t0YTpuYW1lZA==": nil, "Bearer named": nil} {
		request := presenting(t, "")
		request.Header.Set("Authorization", header)
		if _, err := held.authenticate(request, netip.Addr{}, types.NamespacedName{}); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", header, err, want)
		}
	}
}
