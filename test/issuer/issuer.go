// Package issuer is an OpenID Connect issuer in the test's own process, by HTTPS on loopback: it publishes keys by discovery, signs what
// tests ask for, forgeries too, and fails as tests have it fail.
package issuer

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// Key signs tokens.
type Key struct {
	// ID is the kid; "" for none.
	ID        string
	Algorithm jose.SignatureAlgorithm
	private   crypto.Signer
}

// NewKey makes a key for RS256 or PS256 (2048 bits), ES256 or EdDSA. It fails for other algorithms.
func NewKey(id string, algorithm jose.SignatureAlgorithm) (Key, error) {
	key := Key{ID: id, Algorithm: algorithm}
	var err error
	switch algorithm {
	case jose.RS256, jose.PS256:
		key.private, err = rsa.GenerateKey(rand.Reader, 2048)
	case jose.ES256:
		key.private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case jose.EdDSA:
		_, key.private, err = ed25519.GenerateKey(rand.Reader)
	default:
		err = fmt.Errorf("no keys for %s", algorithm)
	}
	return key, err
}

// Public is the key as issuers publish it.
func (k Key) Public() jose.JSONWebKey {
	return jose.JSONWebKey{Key: k.private.Public(), KeyID: k.ID, Algorithm: string(k.Algorithm), Use: "sig"}
}

// Sign returns a JWT with further members in its header. It fails where the claims or the header cannot be encoded.
func (k Key) Sign(claims map[string]any, header map[jose.HeaderKey]any) (string, error) {
	options := (&jose.SignerOptions{}).WithType("JWT")
	for name, value := range header {
		options = options.WithHeader(name, value)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: k.Algorithm, Key: jose.JSONWebKey{Key: k.private, KeyID: k.ID}}, options)
	if err != nil {
		return "", err
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", err
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		return "", err
	}
	return signed.CompactSerialize()
}

// Issuer is one issuer. Close it at the end.
type Issuer struct {
	*httptest.Server
	// Defaults are claims of every token, beside iss, sub, iat and exp.
	Defaults map[string]any

	mu    sync.Mutex
	keys  []Key
	fault func(http.ResponseWriter, *http.Request) bool
	reads int
}

const (
	discoveryPath = "/.well-known/openid-configuration"
	keysPath      = "/keys"
)

// New returns an issuer with one key, for ES256. It fails where the system has no random bytes.
func New() (*Issuer, error) {
	key, err := NewKey("one", jose.ES256)
	if err != nil {
		return nil, err
	}
	i := &Issuer{keys: []Key{key}}
	routes := http.NewServeMux()
	routes.HandleFunc(discoveryPath, func(w http.ResponseWriter, _ *http.Request) {
		Answer(w, map[string]any{
			"issuer": i.URL, "jwks_uri": i.URL + keysPath, "response_types_supported": []string{"id_token"},
			"subject_types_supported": []string{"public"}, "id_token_signing_alg_values_supported": []string{"ES256"},
		})
	})
	routes.HandleFunc(keysPath, func(w http.ResponseWriter, _ *http.Request) {
		set := jose.JSONWebKeySet{}
		for _, key := range i.Keys() {
			set.Keys = append(set.Keys, key.Public())
		}
		Answer(w, set)
	})
	i.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		i.mu.Lock()
		fault := i.fault
		if r.URL.Path == keysPath {
			i.reads++
		}
		i.mu.Unlock()
		if fault == nil || !fault(w, r) {
			routes.ServeHTTP(w, r)
		}
	}))
	i.Config.ErrorLog = log.New(io.Discard, "", 0) // clients that do not trust it are part of tests
	i.StartTLS()
	return i, nil
}

// Answer writes a document as JSON.
func Answer(w http.ResponseWriter, document any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(document) // a client that hung up
}

// Authority is the certificate by which the issuer is trusted, in PEM.
func (i *Issuer) Authority() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: i.Certificate().Raw}))
}

// Publish has the issuer publish these keys and no others, and sign with the last of them.
func (i *Issuer) Publish(keys ...Key) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.keys = keys
}

// Keys are those that are published.
func (i *Issuer) Keys() []Key {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.keys
}

// Fail has fault called before each request is answered; where it returns true it has answered. nil ends that.
func (i *Issuer) Fail(fault func(http.ResponseWriter, *http.Request) bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.fault = fault
}

// Reads counts the requests for the key set.
func (i *Issuer) Reads() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.reads
}

// Claims are those of a good token, changed: a claim of nil is left out.
func (i *Issuer) Claims(changed map[string]any) map[string]any {
	now := time.Now()
	claims := map[string]any{"iss": i.URL, "sub": "00u1a2b3c4", "iat": now.Unix(), "exp": now.Add(time.Hour).Unix()}
	maps.Copy(claims, i.Defaults)
	maps.Copy(claims, changed)
	maps.DeleteFunc(claims, func(_ string, value any) bool { return value == nil })
	return claims
}

// Token returns a token with these claims, signed by the last key. It fails where the claims cannot be encoded.
func (i *Issuer) Token(changed map[string]any) (string, error) {
	keys := i.Keys()
	return keys[len(keys)-1].Sign(i.Claims(changed), nil)
}

// With returns a key of this ID and algorithm that signs with another one's secret.
func (k Key) With(other Key) Key {
	k.private = other.private
	return k
}
