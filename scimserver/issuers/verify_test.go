package issuers

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/test/issuer"
)

// local are the networks of the test's issuers.
var local = mustNetworks("127.0.0.0/8", "::1/128")

func ignored(types.NamespacedName, error) {}

const audience = "https://scim.example.com/apps/team/staff"

func newIssuer(t *testing.T) *issuer.Issuer {
	t.Helper()
	i, err := issuer.New()
	must(t, err)
	t.Cleanup(i.Close)
	i.Defaults = map[string]any{"aud": audience, "azp": "okta-provisioning"}
	return i
}

// appOf returns an App that takes the tokens of an issuer.
func appOf(i *issuer.Issuer) *v1alpha1.App {
	return &v1alpha1.App{
		ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "staff", Generation: 1},
		Spec: v1alpha1.AppSpec{OIDC: &v1alpha1.ForeignIssuer{
			Issuer: i.URL, Audience: audience, CertificateAuthority: i.Authority(), AuthorizedParties: []string{"okta-provisioning"},
		}},
	}
}

// newSet returns a Set that has read the keys of an App's issuer.
func newSet(t *testing.T, app *v1alpha1.App) *Set {
	t.Helper()
	set := New(t.Context(), local, ignored)
	set.Replace(nil, app)
	read(t, set, app)
	return set
}

// read waits for the outcome of the first read.
func read(t *testing.T, set *Set, app *v1alpha1.App) Outcome {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		if outcome, known := set.Outcome(app); known {
			return outcome
		}
	}
	t.Fatal("the issuer was not asked")
	return Outcome{}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func sign(t *testing.T, key issuer.Key, claims map[string]any, header map[jose.HeaderKey]any) string {
	t.Helper()
	text, err := key.Sign(claims, header)
	must(t, err)
	return text
}

// raw returns a JWT of any header and signature.
func raw(t *testing.T, header, claims map[string]any, signature func(signed string) []byte) string {
	t.Helper()
	var parts []string
	for _, part := range []map[string]any{header, claims} {
		text, err := json.Marshal(part)
		must(t, err)
		parts = append(parts, base64.RawURLEncoding.EncodeToString(text))
	}
	signed := strings.Join(parts, ".")
	return signed + "." + base64.RawURLEncoding.EncodeToString(signature(signed))
}

func expectRefused(t *testing.T, err error, words ...string) {
	t.Helper()
	var refusal *RefusedError
	if !errors.As(err, &refusal) {
		t.Errorf("the error is %v, want a refusal", err)
		return
	}
	for _, word := range words {
		if !strings.Contains(refusal.Detail, word) {
			t.Errorf("%q lacks %q", refusal.Detail, word)
		}
	}
}

func expectUnavailable(t *testing.T, err error, words ...string) UnavailableError {
	t.Helper()
	var unavailable *UnavailableError
	if !errors.As(err, &unavailable) {
		t.Fatalf("the error is %v, want that nothing can be said", err)
	}
	for _, word := range words {
		if !strings.Contains(unavailable.Detail, word) {
			t.Errorf("%q lacks %q", unavailable.Detail, word)
		}
	}
	if unavailable.RetryAfter <= 0 {
		t.Errorf("come again after %v", unavailable.RetryAfter)
	}
	return *unavailable
}

// A token of the issuer opens the App, whatever its algorithm, and says which client sent it.
func TestGoodTokens(t *testing.T) {
	i := newIssuer(t)
	set, app := newSet(t, appOf(i)), appOf(i)
	for _, algorithm := range []jose.SignatureAlgorithm{jose.RS256, jose.PS256, jose.ES256, jose.EdDSA} {
		key, err := issuer.NewKey("key-"+string(algorithm), algorithm)
		must(t, err)
		i.Publish(key)
		set.Replace(nil, &v1alpha1.App{ObjectMeta: app.ObjectMeta}) // forgets the keys
		set.Replace(nil, app)
		for kind, header := range map[string]map[jose.HeaderKey]any{
			"JWT": nil, "at+jwt": {"typ": "at+jwt"}, "an embedded key, which is not looked at": {"jku": "https://example.com/keys", "x5u": "https://example.com"},
		} {
			client, err := set.Verify(t.Context(), app, sign(t, key, i.Claims(nil), header))
			if err != nil || client.Subject != "00u1a2b3c4" || client.AuthorizedParty != "okta-provisioning" {
				t.Errorf("%s, %s: %+v, %v", algorithm, kind, client, err)
			}
		}
	}
}

// What is no token of the issuer, however it is made up.
func TestForgeries(t *testing.T) {
	i := newIssuer(t)
	rsaKey, err := issuer.NewKey("rsa", jose.RS256)
	must(t, err)
	ecKey := i.Keys()[0]
	i.Publish(rsaKey, ecKey)
	set, app := newSet(t, appOf(i)), appOf(i)
	claims := i.Claims(nil)
	for _, good := range []issuer.Key{rsaKey, ecKey} {
		_, err := set.Verify(t.Context(), app, sign(t, good, claims, nil))
		must(t, err)
	}
	der, err := x509.MarshalPKIXPublicKey(rsaKey.Public().Key)
	must(t, err)
	mac := func(secret []byte) func(string) []byte {
		return func(signed string) []byte {
			sum := hmac.New(sha256.New, secret)
			sum.Write([]byte(signed))
			return sum.Sum(nil)
		}
	}
	nothing := func(string) []byte { return nil }
	stranger, err := issuer.NewKey("one", jose.ES256)
	must(t, err)
	other := func(key issuer.Key, algorithm jose.SignatureAlgorithm) issuer.Key {
		key.Algorithm = algorithm
		return key
	}
	good := sign(t, ecKey, claims, nil)
	parts := strings.Split(good, ".")
	forged, err := json.Marshal(i.Claims(map[string]any{"sub": "another"}))
	must(t, err)
	for name, text := range map[string]string{
		"alg none":                       raw(t, map[string]any{"alg": "none", "typ": "JWT"}, claims, nothing),
		"alg None":                       raw(t, map[string]any{"alg": "None", "kid": "rsa"}, claims, nothing),
		"no alg":                         raw(t, map[string]any{"typ": "JWT", "kid": "rsa"}, claims, nothing),
		"HS256 with the public key, DER": raw(t, map[string]any{"alg": "HS256", "kid": "rsa"}, claims, mac(der)),
		"HS256 with the public key, PEM": raw(t, map[string]any{"alg": "HS256", "kid": "rsa"}, claims, mac(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))),
		"no signature":                   parts[0] + "." + parts[1] + ".",
		"other claims":                   parts[0] + "." + base64.RawURLEncoding.EncodeToString(forged) + "." + parts[2],
		"another's key under the kid":    sign(t, stranger, claims, nil),
		"a key in the header":            raw(t, map[string]any{"alg": "ES256", "kid": "one", "jwk": stranger.Public()}, claims, nothing),
		"RS256 by the key of PS256":      sign(t, other(rsaKey, jose.PS256), claims, nil),
		"the kid of another kind of key": sign(t, issuer.Key{ID: "rsa", Algorithm: jose.ES256}.With(ecKey), claims, nil),
		"a critical header":              raw(t, map[string]any{"alg": "ES256", "kid": "one", "crit": []string{"exp"}, "exp": 1}, claims, nothing),
		"typ of a logout token":          sign(t, ecKey, claims, map[jose.HeaderKey]any{"typ": "logout+jwt"}),
		"typ that is no text":            raw(t, map[string]any{"alg": "ES256", "kid": "one", "typ": 7}, claims, nothing),
		"as JSON":                        `eyJ{"payload":"` + parts[1] + `","protected":"` + parts[0] + `","signature":"` + parts[2] + `"}`,
		"one part":                       "eyJ",
		"too large":                      sign(t, ecKey, i.Claims(map[string]any{"pad": strings.Repeat("x", maxToken)}), nil),
		"an array as claims":             raw(t, map[string]any{"alg": "ES256", "kid": "one"}, nil, nothing),
	} {
		t.Run(name, func(t *testing.T) {
			client, err := set.Verify(t.Context(), app, text)
			expectRefused(t, err)
			if client.Subject != "" {
				t.Errorf("the answer names %q", client.Subject)
			}
			if len(text) > 20 && err != nil && strings.Contains(err.Error(), text[len(text)-20:]) {
				t.Error("the refusal repeats the token")
			}
		})
	}
}

// Claims that the App does not ask for, or that are none, open nothing, and the refusal names the claim.
func TestClaims(t *testing.T) {
	i := newIssuer(t)
	set, app := newSet(t, appOf(i)), appOf(i)
	app.Spec.OIDC.Subjects = []string{"00u1a2b3c4"}
	app.Spec.OIDC.Claims = []v1alpha1.RequiredClaim{{Name: "scope", Value: "scim"}, {Name: "groups", Value: "provisioning"}, {Name: "trusted", Value: "true"}}
	needed := map[string]any{"scope": "openid scim", "groups": []string{"all", "provisioning"}, "trusted": true}
	now := time.Now()
	for name, each := range map[string]struct {
		claims map[string]any
		want   string // "" for a token that opens the App
	}{
		"as asked":                         {nil, ""},
		"one of several audiences":         {map[string]any{"aud": []string{"other", audience}}, ""},
		"client_id in place of azp":        {map[string]any{"azp": nil, "client_id": "okta-provisioning"}, ""},
		"cid in place of azp":              {map[string]any{"azp": nil, "cid": "okta-provisioning"}, ""},
		"scope as an array":                {map[string]any{"scope": []string{"scim"}}, ""},
		"another issuer":                   {map[string]any{"iss": "https://example.com"}, "iss"},
		"the issuer with a slash":          {map[string]any{"iss": i.URL + "/"}, "iss"},
		"no issuer":                        {map[string]any{"iss": nil}, "iss"},
		"an issuer in another letter case": {map[string]any{"iss": nil, "ISS": i.URL}, "iss"},
		"another audience":                 {map[string]any{"aud": "other"}, "aud"},
		"an audience that begins alike":    {map[string]any{"aud": audience + "/more"}, "aud"},
		"no audience":                      {map[string]any{"aud": nil}, "aud"},
		"audience of another type":         {map[string]any{"aud": map[string]any{audience: true}}, ""},
		"no subject":                       {map[string]any{"sub": nil}, "sub"},
		"a number as subject":              {map[string]any{"sub": 7}, ""},
		"another subject":                  {map[string]any{"sub": "00u9"}, "subjects"},
		"another client":                   {map[string]any{"azp": "other"}, "azp"},
		"azp goes before client_id":        {map[string]any{"azp": "other", "client_id": "okta-provisioning"}, "azp"},
		"azp of another type":              {map[string]any{"azp": []string{"okta-provisioning"}}, "azp"},
		"no client":                        {map[string]any{"azp": nil}, "azp"},
		"a part of the scope":              {map[string]any{"scope": "scim.read"}, "scope"},
		"no scope":                         {map[string]any{"scope": nil}, "scope"},
		"another group":                    {map[string]any{"groups": "provisioning2"}, "groups"},
		"trusted as text":                  {map[string]any{"trusted": "true"}, ""},
		"not trusted":                      {map[string]any{"trusted": false}, "trusted"},
		"no expiry":                        {map[string]any{"exp": nil}, "exp"},
		"expiry as text":                   {map[string]any{"exp": "9999999999"}, "exp"},
		"expiry beyond all years":          {map[string]any{"exp": json.Number("1e300")}, "exp"},
		"a negative expiry":                {map[string]any{"exp": -1}, "exp"},
		"expiry with a fraction":           {map[string]any{"exp": float64(now.Unix()) + 60.5}, ""},
		"expired, within the skew":         {map[string]any{"exp": now.Add(-ClockSkew + 10*time.Second).Unix()}, ""},
		"expired, beyond the skew":         {map[string]any{"exp": now.Add(-ClockSkew - time.Second).Unix()}, "expired"},
		"nbf ahead, within the skew":       {map[string]any{"nbf": now.Add(ClockSkew - 10*time.Second).Unix()}, ""},
		"nbf ahead, beyond the skew":       {map[string]any{"nbf": now.Add(ClockSkew + 10*time.Second).Unix()}, "nbf"},
		"iat ahead, within the skew":       {map[string]any{"iat": now.Add(ClockSkew - 10*time.Second).Unix()}, ""},
		"iat ahead, beyond the skew":       {map[string]any{"iat": now.Add(ClockSkew + 10*time.Second).Unix()}, "iat"},
		"iat as text":                      {map[string]any{"iat": "now"}, "iat"},
	} {
		t.Run(name, func(t *testing.T) {
			claims := maps.Clone(needed)
			maps.Copy(claims, each.claims)
			text, err := i.Token(claims)
			must(t, err)
			_, err = set.Verify(t.Context(), app, text)
			refusedAnyway := name == "audience of another type" || name == "a number as subject"
			switch {
			case refusedAnyway:
				expectRefused(t, err)
			case each.want == "":
				must(t, err)
			default:
				expectRefused(t, err, each.want)
			}
		})
	}
	t.Run("an App that asks for nothing", func(t *testing.T) {
		open := appOf(i)
		open.Spec.OIDC.AuthorizedParties = nil
		text, err := i.Token(nil)
		must(t, err)
		_, err = set.Verify(t.Context(), open, text)
		expectRefused(t, err, "no client")
	})
}

// A client that was verified is held against the App as it becomes, and the clock.
func TestStillOpens(t *testing.T) {
	i := newIssuer(t)
	set, app := newSet(t, appOf(i)), appOf(i)
	at := time.Now()
	set.now = func() time.Time { return at }
	text, err := i.Token(nil)
	must(t, err)
	client, err := set.Verify(context.Background(), app, text)
	must(t, err)
	client.now = func() time.Time { return at }
	must(t, client.StillOpens(app))
	for name, change := range map[string]func(*v1alpha1.ForeignIssuer){
		"suspended":         func(o *v1alpha1.ForeignIssuer) { o.Suspended = true },
		"another client":    func(o *v1alpha1.ForeignIssuer) { o.AuthorizedParties = []string{"other"} },
		"another audience":  func(o *v1alpha1.ForeignIssuer) { o.Audience = "other" },
		"another issuer":    func(o *v1alpha1.ForeignIssuer) { o.Issuer = "https://example.com" },
		"another authority": func(o *v1alpha1.ForeignIssuer) { o.CertificateAuthority = "" },
	} {
		changed := appOf(i)
		change(changed.Spec.OIDC)
		if client.StillOpens(changed) == nil {
			t.Errorf("%s: still accepted", name)
		}
	}
	spoiled := appOf(i)
	spoiled.Annotations = map[string]string{v1alpha1.AnnotationUnreadable: "spec.oidc.claims.0.value: a number"}
	expectRefused(t, client.StillOpens(spoiled), "cannot be read")
	_, err = set.Verify(t.Context(), spoiled, text)
	expectRefused(t, err, "cannot be read")
	gone := appOf(i)
	gone.Spec.OIDC = nil
	expectRefused(t, client.StillOpens(gone))
	at = at.Add(time.Hour + ClockSkew + time.Second)
	expectRefused(t, client.StillOpens(app), "expired")
}
