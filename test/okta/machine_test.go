package okta_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"slices"
	"testing"

	"github.com/go-jose/go-jose/v4"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	okta "github.com/scim-operator/scim-operator/test/okta/client"
	"github.com/scim-operator/scim-operator/test/okta/harness"
)

// machineApp is an App with a machine client, and that client.
type machineApp struct {
	issuingApp
	machine *okta.Machine
	// key is the client's public key as the App lists it.
	key string
}

func publicPEM(t *testing.T, key crypto.Signer) string {
	t.Helper()
	encoded, err := x509.MarshalPKIXPublicKey(key.Public())
	must(t, err)
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: encoded}))
}

// newMachineApp makes an App that lists a key of a machine client, at the URL of a server that is reached by transport; nil for the
// default.
func newMachineApp(t *testing.T, server, name string, transport http.RoundTripper, algorithm jose.SignatureAlgorithm, key crypto.Signer, listed string) *machineApp {
	t.Helper()
	operator.ShowOnFailure(t)
	if listed == "" {
		listed = publicPEM(t, key)
	}
	app := operator.NewApp(t, operator.Server, operator.Env.Namespace(t, nil), name, func(spec *v1alpha1.AppSpec) {
		spec.ExternalURL = server
		spec.OAuth = &v1alpha1.OAuth{MachineClients: []v1alpha1.MachineClient{{ClientID: "machine-" + name, Keys: []string{listed}}}}
	})
	return &machineApp{issuingApp: issuingApp{app}, key: listed, machine: &okta.Machine{
		Issuer: server + "/apps/" + app.Namespace + "/" + app.Name, ClientID: "machine-" + name, Key: key, Algorithm: algorithm, HTTP: transport,
	}}
}

func newECKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	return key
}

// connect gets an access token.
func (m *machineApp) connect(t *testing.T) *okta.Tokens {
	t.Helper()
	return m.issued(t)(m.machine.Token(t.Context(), nil))
}

// issued fails the test unless an access token was issued, and no refresh token.
func (m *machineApp) issued(t *testing.T) func(*okta.Tokens, error) *okta.Tokens {
	t.Helper()
	return func(tokens *okta.Tokens, err error) *okta.Tokens {
		t.Helper()
		must(t, err)
		if tokens.Status != http.StatusOK || tokens.Access == "" || tokens.Refresh != "" || tokens.Type != "Bearer" {
			t.Fatalf("the token endpoint answered %d %s %s", tokens.Status, tokens.Error, tokens.Text)
		}
		return tokens
	}
}

// list has the App list other keys of the client; none takes its machine clients away.
func (m *machineApp) list(t *testing.T, keys ...string) {
	t.Helper()
	var oauth any
	if len(keys) > 0 {
		oauth = map[string]any{"machineClients": []any{map[string]any{"clientID": m.machine.ClientID, "keys": keys}}}
	}
	patch, err := json.Marshal(map[string]any{"spec": map[string]any{"oauth": oauth}})
	must(t, err)
	app := &v1alpha1.App{}
	app.Namespace, app.Name = m.Namespace, m.Name
	must(t, operator.Env.Client.Patch(t.Context(), app, client.RawPatch("application/merge-patch+json", patch)))
}

// A machine client from the metadata to a leaver, with each kind of key, and the end of its tokens with the key (IPSIE AL2).
func TestMachineClient(t *testing.T) {
	ecKey := newECKey(t)
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	must(t, err)
	web, err := jose.JSONWebKey{Key: rsaKey.Public(), KeyID: "2027", Algorithm: "PS256", Use: "sig"}.MarshalJSON()
	must(t, err)
	for name, test := range map[string]struct {
		algorithm jose.SignatureAlgorithm
		key       crypto.Signer
		keyID     string
		listed    string
	}{
		"es256": {jose.ES256, ecKey, "", ""},
		"eddsa": {jose.EdDSA, edKey, "any", ""},
		"ps256": {jose.PS256, rsaKey, "2027", string(web)},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachineApp(t, operator.Server.URL, name, nil, test.algorithm, test.key, test.listed)
			m.machine.KeyID = test.keyID
			browser, err := (&okta.OAuth{}).NewBrowser()
			must(t, err)
			page, err := browser.Open(t.Context(), operator.Server.URL+"/.well-known/oauth-authorization-server/apps/"+m.Namespace+"/"+m.Name)
			must(t, err)
			var metadata struct {
				Issuer     string   `json:"issuer"`
				Token      string   `json:"token_endpoint"`
				Authorize  string   `json:"authorization_endpoint"`
				Grants     []string `json:"grant_types_supported"`
				Methods    []string `json:"token_endpoint_auth_methods_supported"`
				Algorithms []string `json:"token_endpoint_auth_signing_alg_values_supported"`
				Scopes     []string `json:"scopes_supported"`
			}
			must(t, json.Unmarshal([]byte(page.Body), &metadata))
			if metadata.Issuer != m.machine.Issuer || metadata.Token != m.machine.Issuer+"/oauth/token" || metadata.Authorize != "" ||
				!slices.Equal(metadata.Grants, []string{"client_credentials"}) || !slices.Equal(metadata.Methods, []string{"private_key_jwt"}) ||
				!slices.Contains(metadata.Algorithms, string(test.algorithm)) || !slices.Contains(metadata.Scopes, "scim") {
				t.Errorf("the metadata is %s", page.Body)
			}
			tokens := m.connect(t)
			if tokens.Scope != "scim" || tokens.Expires != 3600 {
				t.Errorf("scope %q for %d s", tokens.Scope, tokens.Expires)
			}
			scim := m.scim(tokens.Access)
			say(t)(scim.TestConnection(t.Context(), true))
			person := okta.Assign(okta.NewProfile(newName(t, "machine")))
			say(t)(scim.AssignUser(t.Context(), person))
			operator.AccessSoon(t, m.Subject(person.Profile.UserName), harness.Everywhere(harness.Viewer))
			say(t)(m.scim(m.connect(t).Access).Deactivate(t.Context(), person))
			operator.AccessNow(t, m.Subject(person.Profile.UserName), harness.Nowhere())

			// Another key beside it ends nothing; taking the first one away ends what it was issued for.
			next := newECKey(t)
			m.list(t, m.key, publicPEM(t, next))
			if got := m.status(t, tokens.Access); got != http.StatusOK {
				t.Errorf("with two keys the token is answered %d", got)
			}
			m.list(t, publicPEM(t, next))
			m.opensNot(t, tokens.Access)
			refusesSoon(t, m.machine, "invalid_client")
			m.machine.Key, m.machine.Algorithm, m.machine.KeyID = next, jose.ES256, ""
			again := m.connect(t)
			m.list(t)
			m.opensNot(t, again.Access)
		})
	}
}

// refusesSoon waits until a machine client gets no token.
func refusesSoon(t *testing.T, machine *okta.Machine, code string) {
	t.Helper()
	soon(t, "the refusal of a machine client", func(ctx context.Context) error {
		tokens, err := machine.Token(ctx, nil)
		if err == nil && tokens.Error != code {
			err = fmt.Errorf("answered %d %s", tokens.Status, tokens.Error)
		}
		return err
	})
}
