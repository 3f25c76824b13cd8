package okta_test

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"golang.org/x/sync/errgroup"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	okta "github.com/scim-operator/scim-operator/test/okta/client"
)

// signed makes an assertion of the machine with claims changed.
func (m *machineApp) signed(t *testing.T, more map[string]any) string {
	t.Helper()
	assertion, err := m.machine.Assertion(m.machine.Claims(more))
	must(t, err)
	return assertion
}

// refusedAs fails the test unless the token endpoint refuses an assertion with a code and words of its description.
func (m *machineApp) refusedAs(t *testing.T, assertion, code, words string) {
	t.Helper()
	tokens, err := m.machine.TokenBy(t.Context(), assertion, nil)
	must(t, err)
	if tokens.Error != code || !strings.Contains(tokens.Text, words) || tokens.Access != "" || tokens.Status < 400 || tokens.Status >= 500 {
		t.Errorf("answered %d %s %q, want %s %q", tokens.Status, tokens.Error, tokens.Text, code, words)
	}
}

const unproved = "not signed by a key"

// machineAttacks on the grant of machine clients, each with what it is answered.
var machineAttacks = []struct {
	name string
	run  func(*testing.T, *machineApp)
}{
	{"replayed assertion, also at two replicas at once", func(t *testing.T, m *machineApp) {
		once := m.signed(t, nil)
		m.issued(t)(m.machine.TokenBy(t.Context(), once, nil))
		m.refusedAs(t, once, "invalid_client", "used before")
		other := *m.machine
		other.HTTP = toReplica{operator.Server.URL, m.machine.Issuer}
		raced := m.signed(t, nil)
		var wait sync.WaitGroup
		answers := make([]*okta.Tokens, 6)
		for i := range answers {
			machine := []*okta.Machine{m.machine, &other}[i%2]
			wait.Go(func() {
				tokens, err := machine.TokenBy(t.Context(), raced, nil)
				if err != nil {
					t.Error(err)
					return
				}
				answers[i] = tokens
			})
		}
		wait.Wait()
		taken := 0
		for _, answer := range answers {
			if answer != nil && answer.Status == http.StatusOK {
				taken++
			}
		}
		if taken != 1 {
			t.Errorf("of %d requests with one assertion, %d got a token", len(answers), taken)
		}
	}},
	{"claims that are wrong or missing", func(t *testing.T, m *machineApp) {
		for claim, values := range map[string][]any{
			"iss": {"another", "", nil}, "sub": {"another", "", nil}, "jti": {"", nil}, "exp": {nil}, "iat": {nil},
			"aud": {
				"https://evil.example.com", nil, "", m.machine.Issuer + "/", m.machine.Issuer + "/oauth/authorize", strings.Replace(m.machine.Issuer, m.Name, "other", 1),
				[]string{m.machine.Issuer, "https://evil.example.com"}, []string{},
			},
		} {
			for _, value := range values {
				words := map[string]string{"iss": unproved, "sub": "iss and sub", "jti": "jti", "exp": "exp", "iat": "iat", "aud": "aud"}[claim]
				m.refusedAs(t, m.signed(t, map[string]any{claim: value}), "invalid_client", words)
			}
		}
		m.issued(t)(m.machine.TokenBy(t.Context(), m.signed(t, map[string]any{"aud": []string{m.machine.Issuer}}), nil))
	}},
	{"clocks", func(t *testing.T, m *machineApp) {
		at := func(issued, expires time.Duration) string {
			now := time.Now()
			return m.signed(t, map[string]any{"iat": now.Add(issued).Unix(), "exp": now.Add(expires).Unix()})
		}
		m.issued(t)(m.machine.TokenBy(t.Context(), at(4*time.Minute+30*time.Second, 6*time.Minute), nil)) // five minutes ahead
		// Five minutes behind: but this server has just started, and cannot know what was used before there was a record of the key.
		m.refusedAs(t, at(-6*time.Minute, -4*time.Minute-30*time.Second), "invalid_client", "before the server had a record")
		m.issued(t)(m.machine.TokenBy(t.Context(), at(-5*time.Second, time.Minute), nil)) // of ten that it allows
		m.refusedAs(t, at(5*time.Minute+30*time.Second, 7*time.Minute), "invalid_client", "not valid yet")
		m.refusedAs(t, at(-7*time.Minute, -5*time.Minute-30*time.Second), "invalid_client", "expired")
		m.refusedAs(t, at(0, 11*time.Minute), "invalid_client", "600 seconds")
		m.refusedAs(t, at(-24*time.Hour, time.Minute), "invalid_client", "600 seconds")
		m.refusedAs(t, m.signed(t, map[string]any{"exp": 1e300}), "invalid_client", "")
		m.refusedAs(t, m.signed(t, map[string]any{"exp": "soon"}), "invalid_client", unproved)
		m.refusedAs(t, m.signed(t, map[string]any{"nbf": time.Now().Add(time.Hour).Unix()}), "invalid_client", "not valid yet")
	}},
	{"another key, no key, and the public key as a secret", func(t *testing.T, m *machineApp) {
		other := *m.machine
		other.Key = newECKey(t)
		forged, err := other.Assertion(other.Claims(nil))
		must(t, err)
		m.refusedAs(t, forged, "invalid_client", unproved)
		embedded, err := okta.Sign(jose.ES256, other.Key, "", map[jose.HeaderKey]any{"jwk": jose.JSONWebKey{Key: other.Key.Public()}}, m.machine.Claims(nil))
		must(t, err)
		m.refusedAs(t, embedded, "invalid_client", unproved)
		for _, secret := range []string{m.key, strings.TrimSpace(m.key)} {
			text, err := okta.Sign(jose.HS256, []byte(secret), "", nil, m.machine.Claims(nil))
			must(t, err)
			m.refusedAs(t, text, "invalid_client", unproved)
		}
		payload, err := json.Marshal(m.machine.Claims(nil))
		must(t, err)
		encode := base64.RawURLEncoding.EncodeToString
		good := strings.Split(m.signed(t, nil), ".")
		for _, text := range []string{
			encode([]byte(`{"alg":"none"}`)) + "." + encode(payload) + ".", encode([]byte(`{"alg":"none"}`)) + "." + encode(payload) + "." + good[2],
			good[0] + "." + encode(payload) + "." + good[2], good[0] + "." + good[1] + ".", good[0] + "." + good[1], "x", strings.Repeat("a.", 4000),
			encode([]byte(`{"alg":"ES256","crit":["x"],"x":1}`)) + "." + good[1] + "." + good[2],
		} {
			m.refusedAs(t, text, "invalid_client", unproved)
		}
		for _, kind := range []string{"at+jwt", "logout+jwt", "dpop+jwt"} {
			text, err := okta.Sign(jose.ES256, m.machine.Key, "", map[jose.HeaderKey]any{"typ": kind}, m.machine.Claims(nil))
			must(t, err)
			m.refusedAs(t, text, "invalid_client", unproved)
		}
		rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
		must(t, err)
		text, err := okta.Sign(jose.RS256, rsaKey, "", nil, m.machine.Claims(nil))
		must(t, err)
		m.refusedAs(t, text, "invalid_client", unproved)
	}},
	{"a client of another App", func(t *testing.T, m *machineApp) {
		other := newMachineApp(t, strings.TrimSuffix(m.machine.Issuer, "/apps/"+m.Namespace+"/"+m.Name), "crossed", m.machine.HTTP, jose.ES256, newECKey(t), "")
		assertion, err := other.machine.Assertion(other.machine.Claims(map[string]any{"aud": m.machine.Issuer}))
		must(t, err)
		m.refusedAs(t, assertion, "invalid_client", unproved)
		mine := other.connect(t)
		named := m.App
		named.Token = mine.Access
		at := operator.Client(operator.Server, "/apps/"+m.Namespace+"/"+m.Name+"/scim/v2", named, okta.AppWizard)
		if got := do(t, at, http.MethodGet, "/Users?count=1", "").Status; got != http.StatusUnauthorized {
			t.Errorf("a token of another App is answered %d", got)
		}
	}},
	{"other grants, scopes and ways than the client's", func(t *testing.T, m *machineApp) {
		for _, kind := range []string{"authorization_code", "refresh_token", "urn:ietf:params:oauth:grant-type:token-exchange", "urn:ietf:params:oauth:grant-type:device_code"} {
			refuses(t, "unauthorized_client")(m.machine.Token(t.Context(), url.Values{"grant_type": {kind}, "code": {"x"}, "redirect_uri": {"https://x/"}, "refresh_token": {"x"}}))
		}
		refuses(t, "unsupported_grant_type")(m.machine.Token(t.Context(), url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:jwt-bearer"}, "assertion": {m.signed(t, nil)}}))
		refuses(t, "invalid_scope")(m.machine.Token(t.Context(), url.Values{"scope": {"scim admin"}}))
		refuses(t, "invalid_scope")(m.machine.Token(t.Context(), url.Values{"scope": {"offline_access"}}))
		refuses(t, "invalid_request")(m.machine.Token(t.Context(), url.Values{"client_secret": {"x"}, "client_id": {m.machine.ClientID}}))
		refuses(t, "invalid_request")(m.machine.Token(t.Context(), url.Values{"client_secret": {"x"}}))
		refuses(t, "invalid_request")(m.machine.Token(t.Context(), url.Values{"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:saml2-bearer"}}))
		refuses(t, "invalid_client")(m.machine.Token(t.Context(), url.Values{"client_id": {"another"}}))
		refuses(t, "invalid_request")(m.machine.Token(t.Context(), url.Values{"client_assertion": nil}))
		read := m.issued(t)(m.machine.Token(t.Context(), url.Values{"scope": {"read"}, "client_id": {m.machine.ClientID}}))
		if got := do(t, m.scim(read.Access), http.MethodPost, "/Users", `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"userName":"a@example.com"}`).Status; got != http.StatusForbidden {
			t.Errorf("a token that may read creates a user: %d", got)
		}
		browser, err := (&okta.OAuth{HTTP: m.machine.HTTP}).NewBrowser()
		must(t, err)
		for _, id := range []string{"", m.machine.ClientID} {
			page, err := browser.Open(t.Context(), m.machine.Issuer+"/oauth/authorize?response_type=code&client_id="+id+"&redirect_uri=https://x/")
			must(t, err)
			goesNowhere(t, page)
		}
		for _, secret := range []string{"", m.key} {
			basic := okta.NewOAuth(m.machine.Issuer, m.machine.ClientID, secret, "")
			basic.HTTP = m.machine.HTTP
			refuses(t, "invalid_client")(basic.Redeem(t.Context(), "x", url.Values{"grant_type": {"client_credentials"}}))
		}
	}},
	{"tokens after their end", func(t *testing.T, m *machineApp) {
		tokens := m.connect(t)
		other := newMachineApp(t, strings.TrimSuffix(m.machine.Issuer, "/apps/"+m.Namespace+"/"+m.Name), "stranger", m.machine.HTTP, jose.ES256, newECKey(t), "")
		if answer, err := other.machine.Revoke(t.Context(), tokens.Access); err != nil || answer.Status != http.StatusOK || m.status(t, tokens.Access) != http.StatusOK {
			t.Errorf("the client of another App ended a token: %v, %v", answer, err)
		}
		if answer, err := m.machine.Revoke(t.Context(), tokens.Access); err != nil || answer.Status != http.StatusOK {
			t.Errorf("a revocation is answered %v, %v", answer, err)
		}
		m.opensNot(t, tokens.Access)
		tokens = m.connect(t)
		must(t, operator.Env.Client.DeleteAllOf(t.Context(), &v1alpha1.OAuthGrant{}, client.InNamespace(m.Namespace)))
		m.opensNot(t, tokens.Access)
		m.connect(t) // the App lists the key still
	}},
	{"a flood of unknown keys", func(t *testing.T, m *machineApp) {
		key := newECKey(t)
		limited(t, func(i int64) (*okta.Tokens, error) {
			other := *m.machine
			other.Key, other.HTTP = key, from{"198.51.100.201", m.machine.HTTP.(from).next}
			other.KeyID = fmt.Sprintf("unknown-%d", i)
			return other.Token(t.Context(), nil)
		})
		var grants v1alpha1.OAuthGrantList
		must(t, operator.Env.Client.List(t.Context(), &grants, client.InNamespace(m.Namespace)))
		if len(grants.Items) != 0 {
			t.Errorf("they left %d OAuthGrants", len(grants.Items))
		}
		m.connect(t) // the client itself, at its own address, is let in
	}},
	{"what the cluster stores", func(t *testing.T, m *machineApp) {
		id := rand.Text()
		tokens := m.issued(t)(m.machine.TokenBy(t.Context(), m.signed(t, map[string]any{"jti": id}), nil))
		var grants v1alpha1.OAuthGrantList
		must(t, operator.Env.Client.List(t.Context(), &grants, client.InNamespace(m.Namespace)))
		var scimTokens v1alpha1.ScimTokenList
		must(t, operator.Env.Client.List(t.Context(), &scimTokens, client.InNamespace(m.Namespace)))
		stored, err := json.Marshal([]any{grants, scimTokens})
		must(t, err)
		if len(grants.Items) != 1 || len(grants.Items[0].Status.Assertions) != 1 || strings.Contains(string(stored), id) || strings.Contains(string(stored), tokens.Access) {
			t.Errorf("stored: %s", stored)
		}
	}},
}

// toReplica sends requests for one server to another one, which has no TLS.
type toReplica struct{ url, issuer string }

func (r toReplica) RoundTrip(request *http.Request) (*http.Response, error) {
	target, err := url.Parse(r.url)
	if err != nil {
		return nil, err
	}
	request = request.Clone(request.Context())
	request.URL.Scheme, request.URL.Host = target.Scheme, target.Host
	return http.DefaultTransport.RoundTrip(request)
}

// Attacks on machine clients, over TLS, each at an address and with an App of its own; tokens are shown to another replica than the one
// that issued them.
func TestMachineClientUnderAttack(t *testing.T) {
	server, transport := overTLS(t)
	for i, attack := range machineAttacks {
		t.Run(attack.name, func(t *testing.T) {
			attack.run(t, newMachineApp(t, server, "attacked", from{fmt.Sprintf("198.51.100.%d", 101+i), transport}, jose.ES256, newECKey(t), ""))
		})
	}
}

// A client that asks for tokens without end has a hundred, of which the newest opens the App; a rate holds it back, and its grant stays small.
func TestMachineClientHasAHundredTokens(t *testing.T) {
	m := newMachineApp(t, operator.Server.URL, "many", nil, jose.ES256, newECKey(t), "")
	// More at once than the limit lets through, so that a slow machine meets it, too.
	var issued, limited atomic.Int64
	var asking errgroup.Group
	for range 80 {
		asking.Go(func() error {
			tokens, err := m.machine.Token(t.Context(), nil)
			if err == nil && tokens.Status == http.StatusOK {
				issued.Add(1)
			} else if err == nil && tokens.Status == http.StatusTooManyRequests {
				limited.Add(1)
			}
			return err
		})
	}
	must(t, asking.Wait())
	if limited.Load() == 0 || issued.Load()+limited.Load() != 80 {
		t.Errorf("of 80 requests at once %d are answered, and %d told to come again", issued.Load(), limited.Load())
	}
	var newest *okta.Tokens
	for issued.Load() < 105 {
		tokens, err := m.machine.Token(t.Context(), nil)
		must(t, err)
		switch tokens.Status {
		case http.StatusOK:
			newest = tokens
			issued.Add(1)
		case http.StatusTooManyRequests:
			time.Sleep(200 * time.Millisecond)
		default:
			t.Fatalf("answered %d %s", tokens.Status, tokens.Text)
		}
	}
	var list v1alpha1.ScimTokenList
	must(t, operator.Env.Client.List(t.Context(), &list, client.InNamespace(m.Namespace), client.HasLabels{v1alpha1.LabelGrant}))
	var grants v1alpha1.OAuthGrantList
	must(t, operator.Env.Client.List(t.Context(), &grants, client.InNamespace(m.Namespace)))
	stored, err := json.Marshal(grants.Items)
	must(t, err)
	if len(list.Items) != 100 || len(grants.Items) != 1 || len(stored) > 48<<10 {
		t.Errorf("%d tokens, %d grants of %d bytes", len(list.Items), len(grants.Items), len(stored))
	}
	if got := m.status(t, newest.Access); got != http.StatusOK {
		t.Errorf("the newest token is answered %d", got)
	}
}
