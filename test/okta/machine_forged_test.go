package okta_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	eventsv1 "k8s.io/api/events/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	okta "github.com/scim-operator/scim-operator/test/okta/client"
)

var encode = base64.RawURLEncoding.EncodeToString

// handmade signs a header and a payload as they are, by ES256.
func handmade(t *testing.T, key *ecdsa.PrivateKey, header, payload string) string {
	t.Helper()
	text := encode([]byte(header)) + "." + encode([]byte(payload))
	sum := sha256.Sum256([]byte(text))
	r, s, err := ecdsa.Sign(rand.Reader, key, sum[:])
	must(t, err)
	return text + "." + encode(append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...))
}

// claims of an assertion as JSON, with more members at their end.
func (m *machineApp) claims(t *testing.T, more string) string {
	t.Helper()
	text, err := json.Marshal(m.machine.Claims(nil))
	must(t, err)
	return strings.TrimSuffix(string(text), "}") + more + "}"
}

func (m *machineApp) ecKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, ok := m.machine.Key.(*ecdsa.PrivateKey)
	if !ok {
		t.Fatalf("the key is a %T", m.machine.Key)
	}
	return key
}

// forgeries are attacks on what an assertion is made of, and on what is remembered of it.
var forgeries = []struct {
	name string
	run  func(*testing.T, *machineApp)
}{
	{"keys that the header leads to", func(t *testing.T, m *machineApp) {
		asked := atomic.Int32{}
		evil := newECKey(t)
		host := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			asked.Add(1)
			_ = json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: evil.Public(), KeyID: "evil"}}})
		}))
		defer host.Close()
		for _, header := range []string{"jku", "x5u"} {
			text, err := okta.Sign(jose.ES256, evil, "evil", map[jose.HeaderKey]any{jose.HeaderKey(header): host.URL + "/keys"}, m.machine.Claims(nil))
			must(t, err)
			m.refusedAs(t, text, "invalid_client", unproved)
			text, err = okta.Sign(jose.ES256, m.machine.Key, "", map[jose.HeaderKey]any{jose.HeaderKey(header): host.URL + "/keys"}, m.machine.Claims(nil))
			must(t, err)
			m.issued(t)(m.machine.TokenBy(t.Context(), text, nil)) // by the key that the App lists, whatever the header says
		}
		if asked.Load() != 0 {
			t.Errorf("the server asked a host of the attacker %d times", asked.Load())
		}
	}},
	{"key IDs that are paths, statements and long", func(t *testing.T, m *machineApp) {
		other := *m.machine
		other.Key = newECKey(t)
		for _, id := range []string{"../../../../dev/null", "/proc/self/environ", "' OR '1'='1", "key\x00", "http://127.0.0.1/", "${jndi:ldap://x}", strings.Repeat("k", 8<<10)} {
			other.KeyID = id
			text, err := other.Assertion(other.Claims(nil))
			must(t, err)
			m.refusedAs(t, text, "invalid_client", unproved)
		}
	}},
	{"signatures that are none", func(t *testing.T, m *machineApp) {
		good := strings.Split(m.signed(t, nil), ".")
		for name, signature := range map[string][]byte{
			"zeros": make([]byte, 64), "nothing": {}, "short": make([]byte, 63), "long": make([]byte, 65), "huge": make([]byte, 6<<10),
			"the order of the curve": append(m.ecKey(t).Params().N.Bytes(), m.ecKey(t).Params().N.Bytes()...),
		} {
			t.Log(name)
			m.refusedAs(t, good[0]+"."+good[1]+"."+encode(signature), "invalid_client", unproved)
		}
		m.issued(t)(m.machine.TokenBy(t.Context(), strings.Join(good, "."), nil))
	}},
	{"a used assertion in another form", func(t *testing.T, m *machineApp) {
		once := m.signed(t, nil)
		m.issued(t)(m.machine.TokenBy(t.Context(), once, nil))
		parts := strings.Split(once, ".")
		signature, err := base64.RawURLEncoding.DecodeString(parts[2])
		must(t, err)
		s := new(big.Int).Sub(m.ecKey(t).Params().N, new(big.Int).SetBytes(signature[32:])) // (r, -s) is as good a signature
		twin := parts[0] + "." + parts[1] + "." + encode(append(signature[:32:32], s.FillBytes(make([]byte, 32))...))
		m.refusedAs(t, twin, "invalid_client", "used before")
		m.refusedAs(t, once, "invalid_client", "used before")
		answer, err := m.machine.TokenBy(t.Context(), once+"=", nil)
		must(t, err)
		if answer.Access != "" {
			t.Error("a used assertion with padding got a token")
		}
		// Signed anew with the same jti.
		var claims map[string]any
		payload, err := base64.RawURLEncoding.DecodeString(parts[1])
		must(t, err)
		must(t, json.Unmarshal(payload, &claims))
		m.refusedAs(t, m.signed(t, map[string]any{"jti": claims["jti"]}), "invalid_client", "used before")
		// By the same key, which the App lists with a line break more, and which has another OAuthGrant then.
		m.list(t, m.key+"\n")
		soon(t, "the OAuthGrant of the key as it is listed now", func(ctx context.Context) error {
			_, err := m.machine.Token(ctx, nil)
			var grants v1alpha1.OAuthGrantList
			if err = errors.Join(err, operator.Env.Client.List(ctx, &grants, client.InNamespace(m.Namespace))); err == nil && len(grants.Items) != 2 {
				err = fmt.Errorf("there are %d", len(grants.Items))
			}
			return err
		})
		m.refusedAs(t, once, "invalid_client", "used before")
		m.refusedAs(t, twin, "invalid_client", "used before")
		// At the other endpoint, which takes assertions, too.
		form := url.Values{"token": {"x"}}
		for _, path := range []string{"/oauth/revoke", "/oauth/token"} {
			if path == "/oauth/token" {
				form = url.Values{"grant_type": {"client_credentials"}}
			}
			form.Set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
			form.Set("client_assertion", once)
			if got := m.post(t, path, form); got.StatusCode != http.StatusUnauthorized {
				t.Errorf("%s answers %d to a used assertion", path, got.StatusCode)
			}
		}
	}},
	{"members twice, other serializations, unencoded payloads", func(t *testing.T, m *machineApp) {
		key := m.ecKey(t)
		const header = `{"alg":"ES256"}`
		m.issued(t)(m.machine.TokenBy(t.Context(), handmade(t, key, header, m.claims(t, "")), nil))
		for name, text := range map[string]string{
			"iss twice":           handmade(t, key, header, m.claims(t, `,"iss":"another"`)),
			"aud twice":           handmade(t, key, header, m.claims(t, `,"aud":"https://evil.example.com"`)),
			"alg twice":           handmade(t, key, `{"alg":"none","alg":"ES256"}`, m.claims(t, "")),
			"text after the JSON": handmade(t, key, header, m.claims(t, "")+"{}"),
			"b64 false":           handmade(t, key, `{"alg":"ES256","b64":false,"crit":["b64"]}`, m.claims(t, "")),
			"compressed":          handmade(t, key, `{"alg":"ES256","zip":"DEF","crit":["zip"]}`, m.claims(t, "")),
			"alg as a list":       handmade(t, key, `{"alg":["ES256"]}`, m.claims(t, "")),
			"alg in lower case":   handmade(t, key, `{"alg":"es256"}`, m.claims(t, "")),
			"an array as claims":  handmade(t, key, header, `[`+m.claims(t, "")+`]`),
			"a JWE":               strings.Repeat(encode([]byte(`{"alg":"dir","enc":"A128GCM"}`))+".", 4) + "x",
			"JSON of one":         `{"protected":"` + encode([]byte(header)) + `","payload":"` + encode([]byte(m.claims(t, ""))) + `","signature":"` + strings.Split(handmade(t, key, header, m.claims(t, "")), ".")[2] + `"}`,
			"deep":                handmade(t, key, header, m.claims(t, `,"x":`+strings.Repeat("[", 3000)+strings.Repeat("]", 3000))),
		} {
			tokens, err := m.machine.TokenBy(t.Context(), text, nil)
			must(t, err)
			if tokens.Status == http.StatusOK && name != "deep" || tokens.Status >= 500 {
				t.Errorf("%s: answered %d %s", name, tokens.Status, tokens.Text)
			}
		}
		refuses(t, "invalid_request")(m.machine.TokenBy(t.Context(), handmade(t, key, header, m.claims(t, `,"x":"`+strings.Repeat("x", 32<<10)+`"`)), nil))
	}},
	{"look-alikes of the client and of the audience", func(t *testing.T, m *machineApp) {
		id := m.machine.ClientID
		for _, other := range []string{strings.ToUpper(id), id + " ", " " + id, id + "\x00", strings.Replace(id, "a", "\u0430", 1), id + "\u200b", strings.Replace(id, "-", "\u2010", 1)} {
			m.refusedAs(t, m.signed(t, map[string]any{"iss": other, "sub": other}), "invalid_client", unproved)
			m.refusedAs(t, m.signed(t, map[string]any{"sub": other}), "invalid_client", "iss and sub")
		}
		issuer, err := url.Parse(m.machine.Issuer)
		must(t, err)
		for _, aud := range []string{
			"HTTPS" + strings.TrimPrefix(m.machine.Issuer, "https"), strings.Replace(m.machine.Issuer, issuer.Host, "x@"+issuer.Host, 1),
			strings.Replace(m.machine.Issuer, issuer.Hostname(), issuer.Hostname()+".", 1), strings.Replace(m.machine.Issuer, "/apps/", "/%61pps/", 1),
			strings.Replace(m.machine.Issuer, "/"+m.Name, "%2F"+m.Name, 1), m.machine.Issuer + "?", m.machine.Issuer + "#", m.machine.Issuer + "/oauth/token/",
			strings.Replace(m.machine.Issuer, "/apps/", "/x/../apps/", 1), m.machine.Issuer + " ", m.machine.Issuer + "/scim/v2",
		} {
			m.refusedAs(t, m.signed(t, map[string]any{"aud": aud}), "invalid_client", "aud must be")
		}
	}},
	{"an assertion where a token belongs, and a token where an assertion does", func(t *testing.T, m *machineApp) {
		assertion := m.signed(t, nil)
		if got := m.status(t, assertion); got != http.StatusUnauthorized {
			t.Errorf("an assertion as a bearer token is answered %d", got)
		}
		tokens := m.issued(t)(m.machine.TokenBy(t.Context(), assertion, nil))
		m.refusedAs(t, tokens.Access, "invalid_client", unproved)
		for _, header := range []string{basic(m.machine.ClientID, tokens.Access), basic("", tokens.Access), "DPoP " + tokens.Access, "Bearer " + tokens.Access + ", Bearer x"} {
			answer := do(t, m.scim(tokens.Access), http.MethodGet, "/Users?count=1", "", okta.WithHeader("Authorization", header))
			if answer.Status != http.StatusUnauthorized {
				t.Errorf("%q is answered %d", header[:6], answer.Status)
			}
		}
		for _, query := range []string{"access_token=" + tokens.Access, "client_assertion=" + url.QueryEscape(m.signed(t, nil))} {
			answer := do(t, m.scim("x"), http.MethodGet, "/Users?count=1&"+query, "", okta.WithHeader("Authorization", ""))
			if answer.Status != http.StatusUnauthorized {
				t.Errorf("a credential in the query is answered %d", answer.Status)
			}
		}
	}},
	{"a used assertion after its grant was deleted", func(t *testing.T, m *machineApp) {
		once := m.signed(t, nil)
		m.issued(t)(m.machine.TokenBy(t.Context(), once, nil))
		must(t, operator.Env.Client.DeleteAllOf(t.Context(), &v1alpha1.OAuthGrant{}, client.InNamespace(m.Namespace)))
		other := *m.machine
		other.HTTP = toReplica{operator.Server.URL, m.machine.Issuer}
		for range 2 { // without a grant, and with the one that was made since
			for _, machine := range []*okta.Machine{m.machine, &other} {
				refuses(t, "invalid_client")(machine.TokenBy(t.Context(), once, nil))
			}
			m.connect(t)
		}
	}},
	{"a flood of a used assertion", func(t *testing.T, m *machineApp) {
		once, begun := m.signed(t, nil), time.Now()
		m.issued(t)(m.machine.TokenBy(t.Context(), once, nil))
		thief := *m.machine
		thief.HTTP = from{"198.51.100.202", m.machine.HTTP.(from).next}
		soon(t, "the refusal of a used assertion", func(ctx context.Context) error {
			tokens, err := thief.TokenBy(ctx, once, nil)
			if err == nil && !strings.Contains(tokens.Text, "used before") {
				err = fmt.Errorf("answered %d %s %s", tokens.Status, tokens.Error, tokens.Text)
			}
			return err
		})
		for range 120 {
			tokens, err := thief.TokenBy(t.Context(), once, nil)
			must(t, err)
			if tokens.Access != "" {
				t.Fatal("a used assertion got a token")
			}
		}
		atMost := 5 + int(time.Since(begun)/time.Second) + 1
		lines := m.auditLines(`"oauth-replay"`)
		if len(lines) == 0 || len(lines) > atMost || !strings.Contains(lines[0], `"result":"refused"`) || !strings.Contains(lines[0], `"machineClient":"`+m.machine.ClientID+`"`) {
			t.Errorf("of the audit trail %d lines of %d at most tell of it: %q", len(lines), atMost, lines)
		}
		m.connect(t) // the client's own rate is its own
		soon(t, "an Event", func(ctx context.Context) error {
			var events eventsv1.EventList
			must(t, operator.Env.Client.List(ctx, &events, client.InNamespace(m.Namespace)))
			told := 0
			for i := range events.Items {
				if events.Items[i].Reason == v1alpha1.ReasonAssertionReplayed && events.Items[i].Type == "Warning" && strings.Contains(events.Items[i].Note, "198.51.100.202") {
					told++
				}
			}
			if told != 1 {
				return fmt.Errorf("%d of %d Events tell of it", told, len(events.Items))
			}
			return nil
		})
		var grants v1alpha1.OAuthGrantList
		must(t, operator.Env.Client.List(t.Context(), &grants, client.InNamespace(m.Namespace)))
		if len(grants.Items) != 1 || grants.Items[0].Status.Replayed == nil || time.Since(grants.Items[0].Status.Replayed.Time.Time) > time.Hour {
			t.Errorf("the grants are %+v", grants.Items)
		}
	}},
}

// auditLines returns the lines of the servers' audit trails about the App that have some text.
func (m *machineApp) auditLines(text string) (lines []string) {
	for line := range strings.Lines(operator.ServerLog.String()) {
		if strings.Contains(line, `"logger":"audit"`) && strings.Contains(line, `"app":"`+m.Namespace+"/"+m.Name+`"`) && strings.Contains(line, text) {
			lines = append(lines, line)
		}
	}
	return lines
}

// post sends a form, and closes the answer.
func (m *machineApp) post(t *testing.T, path string, form url.Values) *http.Response {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, m.machine.Issuer+path, strings.NewReader(form.Encode()))
	must(t, err)
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	answer, err := m.machine.HTTP.RoundTrip(request)
	must(t, err)
	must(t, answer.Body.Close())
	return answer
}

// Forged, altered and used assertions, over TLS, each attack at an address and with an App of its own.
func TestForgedAssertions(t *testing.T) {
	server, transport := overTLS(t)
	for i, attack := range forgeries {
		t.Run(attack.name, func(t *testing.T) {
			attack.run(t, newMachineApp(t, server, "forged", from{fmt.Sprintf("198.51.100.%d", 151+i), transport}, jose.ES256, newECKey(t), ""))
		})
	}
}
