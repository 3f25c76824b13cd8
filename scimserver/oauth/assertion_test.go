package oauth

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

const issuer = "https://scim.example.com/apps/directory/okta"

var noon = time.Date(2027, 2, 1, 12, 0, 0, 0, time.UTC)

func must[T any](t *testing.T) func(T, error) T {
	t.Helper()
	return func(value T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
}

// keyPair is a private key, and the public one as an App lists it.
func keyPair(t *testing.T) (*ecdsa.PrivateKey, string) {
	t.Helper()
	key := must[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	return key, string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: must[[]byte](t)(x509.MarshalPKIXPublicKey(key.Public()))}))
}

func sign(t *testing.T, key *ecdsa.PrivateKey, keyID string, claims map[string]any) string {
	t.Helper()
	signer := must[jose.Signer](t)(jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: key, KeyID: keyID}}, nil))
	signed := must[*jose.JSONWebSignature](t)(signer.Sign(must[[]byte](t)(json.Marshal(claims))))
	return must[string](t)(signed.CompactSerialize())
}

// appWith lists keys for the machine client hr, and another one for erp.
func appWith(other string, keys ...string) *v1alpha1.App {
	app := &v1alpha1.App{}
	app.Namespace, app.Name = "directory", "okta"
	app.Spec.OAuth = &v1alpha1.OAuth{MachineClients: []v1alpha1.MachineClient{{ClientID: "hr", Keys: keys}, {ClientID: "erp", Keys: []string{other}}}}
	return app
}

func TestVerifyAssertion(t *testing.T) {
	key, listed := keyPair(t)
	_, other := keyPair(t)
	web := string(must[[]byte](t)(jose.JSONWebKey{Key: key.Public(), KeyID: "2027"}.MarshalJSON()))
	seconds := func(after time.Duration) int64 { return noon.Add(after).Unix() }
	for name, test := range map[string]struct {
		keys   []string
		keyID  string
		change map[string]any
		want   string
	}{
		"as it should be":                       {want: ""},
		"the issuer as audience":                {change: map[string]any{"aud": issuer}},
		"one audience in a list":                {change: map[string]any{"aud": []string{issuer}}},
		"the second key":                        {keys: []string{other, listed}},
		"beside a key that cannot be read":      {keys: []string{"none", listed}},
		"a key ID that no key has":              {keyID: "unknown"},
		"a JWK with the key ID":                 {keys: []string{web}, keyID: "2027"},
		"a JWK without a key ID in the header":  {keys: []string{web}},
		"a JWK with another key ID":             {keys: []string{web}, keyID: "2026", want: "not signed by a key"},
		"another client's key":                  {change: map[string]any{"iss": "erp", "sub": "erp"}, want: "not signed by a key"},
		"an unknown client":                     {change: map[string]any{"iss": "crm", "sub": "crm"}, want: "not signed by a key"},
		"another subject":                       {change: map[string]any{"sub": "erp"}, want: "iss and sub"},
		"another audience":                      {change: map[string]any{"aud": "https://scim.example.com/apps/directory/other"}, want: "aud must be"},
		"two audiences":                         {change: map[string]any{"aud": []string{issuer, "https://login.example.com"}}, want: "aud must be"},
		"no audience":                           {change: map[string]any{"aud": nil}, want: "aud must be"},
		"a clock ahead by less than the skew":   {change: map[string]any{"iat": seconds(clockSkew - time.Second), "exp": seconds(clockSkew + time.Minute)}},
		"a clock ahead by more":                 {change: map[string]any{"iat": seconds(clockSkew + time.Second), "exp": seconds(clockSkew + time.Minute)}, want: "not valid yet"},
		"a clock behind by less than the skew":  {change: map[string]any{"iat": seconds(-clockSkew - time.Minute), "exp": seconds(-clockSkew + time.Second)}},
		"a clock behind by more":                {change: map[string]any{"iat": seconds(-clockSkew - time.Minute), "exp": seconds(-clockSkew - time.Second)}, want: "has expired"},
		"as long as it may be":                  {change: map[string]any{"exp": seconds(assertionTime)}},
		"longer":                                {change: map[string]any{"exp": seconds(assertionTime + time.Second)}, want: "600 seconds"},
		"issued long ago":                       {change: map[string]any{"iat": seconds(-time.Hour)}, want: "600 seconds"},
		"an end beyond all calendars":           {change: map[string]any{"exp": 1e300}, want: " "},
		"a beginning before all calendars":      {change: map[string]any{"iat": -1e300}, want: " "},
		"nbf to come":                           {change: map[string]any{"nbf": seconds(time.Hour)}, want: "not valid yet"},
		"no exp":                                {change: map[string]any{"exp": nil}, want: "exp and iat"},
		"no iat":                                {change: map[string]any{"iat": nil}, want: "exp and iat"},
		"no jti":                                {change: map[string]any{"jti": nil}, want: "jti"},
		"an exp that is no time":                {change: map[string]any{"exp": "soon"}, want: "not signed by a key"},
		"claims of another type":                {change: map[string]any{"iss": 1}, want: "not signed by a key"},
		"an App that lists nothing that is one": {keys: []string{"none"}, want: "not signed by a key"},
	} {
		t.Run(name, func(t *testing.T) {
			claims := map[string]any{"iss": "hr", "sub": "hr", "aud": issuer + "/oauth/token", "jti": "1", "iat": seconds(0), "exp": seconds(time.Minute)}
			for claim, value := range test.change {
				if claims[claim] = value; value == nil {
					delete(claims, claim)
				}
			}
			keys := test.keys
			if keys == nil {
				keys = []string{listed}
			}
			got, err := verifyAssertion(appWith(other, keys...), issuer, sign(t, key, test.keyID, claims), noon)
			switch {
			case test.want != "":
				if err == nil || !strings.Contains(err.Error(), test.want) {
					t.Errorf("got %v, want %q", err, test.want)
				}
			case err != nil:
				t.Error(err)
			case got.clientID != "hr" || got.id != "1" || got.key != keys[len(keys)-1]:
				t.Errorf("got %+v", got)
			}
		})
	}
}

// A JWT is remembered for as long as any replica takes it.
func TestAssertionIsRememberedLongEnough(t *testing.T) {
	key, listed := keyPair(t)
	_, other := keyPair(t)
	app := appWith(other, listed)
	text := sign(t, key, "", map[string]any{"iss": "hr", "sub": "hr", "aud": issuer, "jti": "1", "iat": noon.Unix(), "exp": noon.Add(time.Minute).Unix()})
	first := must[*assertion](t)(verifyAssertion(app, issuer, text, noon))
	last := noon
	for at := noon; at.Before(noon.Add(time.Hour)); at = at.Add(time.Second) {
		if _, err := verifyAssertion(app, issuer, text, at); err == nil {
			last = at
		}
	}
	if !first.until.After(last.Add(replicaSkew / 2)) {
		t.Errorf("taken until %s and remembered until %s", last, first.until)
	}
}
