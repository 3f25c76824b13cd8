package issuers

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/test/issuer"
)

// quickly is defaultTiming, but that tokens may have keys read again after a moment.
func quickly() timing {
	quick := defaultTiming
	quick.rest = 50 * time.Millisecond
	return quick
}

func newSetWith(t *testing.T, timing timing, app *v1alpha1.App) *Set {
	t.Helper()
	set := New(t.Context(), local, ignored)
	set.timing = timing
	set.Replace(nil, app)
	read(t, set, app)
	return set
}

func newKey(t *testing.T, id string) issuer.Key {
	t.Helper()
	key, err := issuer.NewKey(id, jose.ES256)
	must(t, err)
	return key
}

// An issuer that signs with a new key at once is followed: the first token of that key has the keys read, and no token is refused. A key
// that was withdrawn ends at the next read.
func TestRotationWithoutAGap(t *testing.T) {
	i := newIssuer(t)
	app := appOf(i)
	set := newSetWith(t, quickly(), app)
	for round := range 5 {
		time.Sleep(60 * time.Millisecond)
		former := i.Keys()
		next := newKey(t, fmt.Sprintf("next-%d", round))
		i.Publish(former[len(former)-1], next)
		var asking sync.WaitGroup
		for range 20 {
			asking.Go(func() {
				text, err := next.Sign(i.Claims(nil), nil)
				if err == nil {
					_, err = set.Verify(t.Context(), app, text)
				}
				if err != nil {
					t.Errorf("round %d: %v", round, err)
				}
			})
		}
		asking.Wait()
		_, err := set.Verify(t.Context(), app, sign(t, former[len(former)-1], i.Claims(nil), nil))
		must(t, err)
	}
	withdrawn := i.Keys()[0]
	i.Publish(newKey(t, "last"))
	time.Sleep(60 * time.Millisecond)
	text, err := i.Token(nil)
	must(t, err)
	_, err = set.Verify(t.Context(), app, text)
	must(t, err)
	time.Sleep(60 * time.Millisecond)
	_, err = set.Verify(t.Context(), app, sign(t, withdrawn, i.Claims(nil), nil))
	expectRefused(t, err, "no key")
}

// A key that takes the ID of another one is read, too.
func TestKeyReplacedUnderItsID(t *testing.T) {
	i := newIssuer(t)
	app := appOf(i)
	set := newSetWith(t, quickly(), app)
	time.Sleep(60 * time.Millisecond)
	i.Publish(newKey(t, "one"))
	text, err := i.Token(nil)
	must(t, err)
	_, err = set.Verify(t.Context(), app, text)
	must(t, err)
}

// A flood of tokens with unknown key IDs asks the issuer once in a rest. Meanwhile good tokens open the App, and a token of a key that is
// new is told to come again, not refused.
func TestFloodOfUnknownKeys(t *testing.T) {
	i := newIssuer(t)
	app := appOf(i)
	timing := defaultTiming
	timing.rest = time.Hour
	set := newSetWith(t, timing, app)
	before := i.Reads()
	for n := range 500 {
		_, err := set.Verify(t.Context(), app, sign(t, newKey(t, fmt.Sprintf("unknown-%d", n)), i.Claims(nil), nil))
		if retry := expectUnavailable(t, err, "read again").RetryAfter; retry > timing.rest {
			t.Fatalf("come again after %v", retry)
		}
	}
	if got := i.Reads() - before; got != 0 {
		t.Errorf("the issuer was asked %d times", got)
	}
	// A known ID with a wrong signature is refused without a read.
	_, err := set.Verify(t.Context(), app, sign(t, newKey(t, "one"), i.Claims(nil), nil))
	expectRefused(t, err, "no key")
	text, err := i.Token(nil)
	must(t, err)
	_, err = set.Verify(t.Context(), app, text)
	must(t, err)

	// Once the rest is over, all that wait share one read.
	over := time.Now().Add(timing.rest)
	newSourceOf(t, set, app).now = func() time.Time { return over }
	var asking sync.WaitGroup
	for range 16 {
		asking.Go(func() {
			key, err := issuer.NewKey("unknown", jose.ES256)
			if err == nil {
				var text string
				if text, err = key.Sign(i.Claims(nil), nil); err == nil {
					_, err = set.Verify(t.Context(), app, text)
				}
			}
			if err == nil {
				t.Error("accepted")
			}
		})
	}
	asking.Wait()
	if got := i.Reads() - before; got != 1 {
		t.Errorf("the issuer was asked %d times", got)
	}
}

// While the issuer is away, keys that were read go on; a process without keys, or with stale ones, says so and opens nothing.
func TestOutage(t *testing.T) {
	i := newIssuer(t)
	app := appOf(i)
	set := newSetWith(t, quickly(), app)
	var away atomic.Bool
	i.Fail(func(w http.ResponseWriter, _ *http.Request) bool {
		if away.Load() {
			http.Error(w, "secret of a neighbour", http.StatusServiceUnavailable)
		}
		return away.Load()
	})
	away.Store(true)
	text, err := i.Token(nil)
	must(t, err)
	time.Sleep(60 * time.Millisecond)
	_, err = set.Verify(t.Context(), app, text)
	must(t, err)
	_, err = set.Verify(t.Context(), app, sign(t, newKey(t, "unknown"), i.Claims(nil), nil))
	if refusal := expectUnavailable(t, err, "answered 503"); strings.Contains(refusal.Detail, "neighbour") {
		t.Error("the answer repeats what the issuer's address says")
	}

	fresh := New(t.Context(), local, ignored)
	fresh.timing = quickly()
	fresh.Replace(nil, app)
	_, err = fresh.Verify(t.Context(), app, text)
	_ = expectUnavailable(t, err, "answered 503")
	if outcome := read(t, fresh, app); outcome.Err == nil || strings.Contains(outcome.Err.Error(), "neighbour") {
		t.Errorf("the outcome is %v", outcome.Err)
	}

	stale := newSourceOf(t, set, app)
	at := time.Now()
	stale.now = func() time.Time { return at.Add(defaultTiming.stale + time.Minute) }
	_, err = set.Verify(t.Context(), app, text)
	_ = expectUnavailable(t, err, "answered 503")

	away.Store(false)
	time.Sleep(60 * time.Millisecond)
	_, err = fresh.Verify(t.Context(), app, text)
	must(t, err)
}

func newSourceOf(t *testing.T, set *Set, app *v1alpha1.App) *source {
	t.Helper()
	from := set.sourceOf(app)
	if from == nil {
		t.Fatal("no source")
	}
	return from
}

// What an issuer, or what stands at its URL, may answer instead of keys. None of it is repeated, followed or waited for for long.
func TestBadIssuers(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a redirect was followed") }))
	t.Cleanup(elsewhere.Close)
	private := newKey(t, "one")
	for name, each := range map[string]struct {
		answer func(i *issuer.Issuer, w http.ResponseWriter, r *http.Request) bool
		want   string
	}{
		"another issuer's document": {document(func(*issuer.Issuer) any { return map[string]any{"issuer": "https://example.com"} }), `"https://example.com"`},
		"no document":               {document(func(*issuer.Issuer) any { return "text" }), "no JSON object"},
		"keys by HTTP":              {document(func(i *issuer.Issuer) any { return map[string]any{"issuer": i.URL, "jwks_uri": elsewhere.URL} }), "jwks_uri"},
		"keys in a file":            {document(func(i *issuer.Issuer) any { return map[string]any{"issuer": i.URL, "jwks_uri": "file:///etc/passwd"} }), "jwks_uri"},
		"a redirect": {func(_ *issuer.Issuer, w http.ResponseWriter, r *http.Request) bool {
			http.Redirect(w, r, elsewhere.URL, http.StatusFound)
			return true
		}, "answered 302"},
		"a document without end": {func(_ *issuer.Issuer, w http.ResponseWriter, _ *http.Request) bool {
			for range 1000 {
				if _, err := w.Write(make([]byte, 4096)); err != nil {
					break
				}
			}
			return true
		}, "larger than"},
		"no keys":              {keySetOf(jose.JSONWebKeySet{}), "no key"},
		"too many keys":        {keySetOf(jose.JSONWebKeySet{Keys: repeated(private.Public(), maxKeys+1)}), "more than"},
		"a key for encryption": {keySetOf(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: private.Public().Key, KeyID: "one", Use: "enc"}}}), "no key"},
		"a shared secret":      {keySetOf(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: []byte("0123456789abcdef0123456789abcdef"), KeyID: "one"}}}), "no key"},
	} {
		t.Run(name, func(t *testing.T) {
			i := newIssuer(t)
			i.Fail(func(w http.ResponseWriter, r *http.Request) bool { return each.answer(i, w, r) })
			app := appOf(i)
			set := New(t.Context(), local, ignored)
			set.Replace(nil, app)
			outcome := read(t, set, app)
			if outcome.Err == nil || !strings.Contains(outcome.Err.Error(), each.want) {
				t.Errorf("the outcome is %v, want %q", outcome.Err, each.want)
			}
			text, err := i.Token(nil)
			must(t, err)
			_, err = set.Verify(t.Context(), app, text)
			_ = expectUnavailable(t, err)
		})
	}
}

func document(of func(*issuer.Issuer) any) func(*issuer.Issuer, http.ResponseWriter, *http.Request) bool {
	return func(i *issuer.Issuer, w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, "/openid-configuration") {
			return false
		}
		issuer.Answer(w, of(i))
		return true
	}
}

func keySetOf(set jose.JSONWebKeySet) func(*issuer.Issuer, http.ResponseWriter, *http.Request) bool {
	return func(_ *issuer.Issuer, w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/keys" {
			return false
		}
		issuer.Answer(w, set)
		return true
	}
}

func repeated(key jose.JSONWebKey, count int) []jose.JSONWebKey {
	keys := make([]jose.JSONWebKey, count)
	for i := range keys {
		keys[i] = key
	}
	return keys
}

// Trust and addresses: an authority that did not sign, an address that no issuer may have, a port where nothing listens.
func TestUntrustedIssuers(t *testing.T) {
	i, other := newIssuer(t), newIssuer(t)
	closed := newIssuer(t)
	closed.Close()
	change := func(edit func(*v1alpha1.ForeignIssuer)) *v1alpha1.App {
		app := appOf(i)
		edit(app.Spec.OIDC)
		return app
	}
	_, port, _ := strings.Cut(strings.TrimPrefix(i.URL, "https://"), ":")
	for name, each := range map[string]struct {
		app      *v1alpha1.App
		networks Networks
		want     string
	}{
		"no authority named":        {change(func(o *v1alpha1.ForeignIssuer) { o.CertificateAuthority = "" }), local, "no authority that is trusted"},
		"an authority that is none": {change(func(o *v1alpha1.ForeignIssuer) { o.CertificateAuthority = "-----BEGIN CERTIFICATE-----" }), local, "certificateAuthority"},
		"loopback":                  {appOf(i), nil, "--issuer-networks"},
		"loopback by name":          {change(func(o *v1alpha1.ForeignIssuer) { o.Issuer = "https://localhost:" + port }), mustNetworks("10.0.0.0/8"), "--issuer-networks"},
		"metadata of a cloud":       {change(func(o *v1alpha1.ForeignIssuer) { o.Issuer = "https://169.254.169.254" }), local, "--issuer-networks"},
		"nothing listens":           {appOf(closed), local, "cannot be connected"},
	} {
		t.Run(name, func(t *testing.T) {
			before := other.Reads() + i.Reads()
			set := New(t.Context(), each.networks, ignored)
			set.Replace(nil, each.app)
			outcome := read(t, set, each.app)
			if outcome.Err == nil || !strings.Contains(outcome.Err.Error(), each.want) {
				t.Errorf("the outcome is %v, want %q", outcome.Err, each.want)
			}
			if got := other.Reads() + i.Reads(); got != before {
				t.Error("the key set was asked for")
			}
		})
	}
}

// Addresses where issuers may be, and where not.
func TestNetworks(t *testing.T) {
	some, err := ParseNetworks([]string{"10.20.0.0/16", "fd00:1::/32"})
	must(t, err)
	for address, want := range map[string]bool{
		"8.8.8.8": true, "2606:4700::1111": true, "10.20.3.4": true, "fd00:1::9": true, "::ffff:10.20.3.4": true,
		"10.21.0.1": false, "127.0.0.1": false, "::1": false, "169.254.169.254": false, "::ffff:169.254.169.254": false, "fe80::1": false,
		"192.168.1.1": false, "172.16.0.1": false, "100.64.0.1": false, "0.0.0.0": false, "::": false, "224.0.0.1": false, "ff02::1": false,
		"255.255.255.255": false, "240.0.0.1": false, "fd00:2::1": false, "64:ff9b::a9fe:a9fe": false, "2002:a9fe:a9fe::1": false, "::7f00:1": false,
		"203.0.113.1": false, "198.18.0.1": false, "fec0::1": false,
	} {
		if got := some.allow(netip.MustParseAddr(address)); got != want {
			t.Errorf("%s: %v", address, got)
		}
	}
	if _, err := ParseNetworks([]string{"10.20.0.0/16", "10.0.0.1"}); err == nil || !strings.Contains(err.Error(), "10.0.0.1") {
		t.Errorf("an address is taken for a network: %v", err)
	}
}

// An issuer that does not answer holds up its own App alone, and of that few requests.
func TestSlowIssuer(t *testing.T) {
	slow, fast := newIssuer(t), newIssuer(t)
	release := make(chan struct{})
	slow.Fail(func(_ http.ResponseWriter, r *http.Request) bool {
		select {
		case <-release:
		case <-r.Context().Done():
		}
		return true
	})
	t.Cleanup(func() { close(release) })
	held, free := appOf(slow), appOf(fast)
	free.ObjectMeta = metav1.ObjectMeta{Namespace: "other", Name: "app"}
	set := New(t.Context(), local, ignored)
	set.Replace(nil, held)
	set.Replace(nil, free)
	read(t, set, free)
	text, err := slow.Token(nil)
	must(t, err)
	var turnedAway atomic.Int32
	for range maxWaiting + 20 {
		go func() {
			_, err := set.Verify(t.Context(), held, text)
			var unavailable *UnavailableError
			if errors.As(err, &unavailable) && strings.Contains(unavailable.Detail, "Many requests wait") {
				turnedAway.Add(1)
			}
		}()
	}
	for deadline := time.Now().Add(time.Minute); turnedAway.Load() < 20 && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	if got := turnedAway.Load(); got != 20 {
		t.Errorf("%d requests were turned away, want 20", got)
	}
	text, err = fast.Token(nil)
	must(t, err)
	_, err = set.Verify(t.Context(), free, text)
	must(t, err)
	if _, known := set.Outcome(held); known {
		t.Error("a read that is under way has an outcome")
	}
}

// A Set follows the Apps: what is not named any more is asked no more.
func TestSetFollowsApps(t *testing.T) {
	i := newIssuer(t)
	app := appOf(i)
	set := newSetWith(t, quickly(), app)
	from := newSourceOf(t, set, app)
	same := app.DeepCopy()
	same.Spec.OIDC.Audience = "another"
	set.Replace(app, same)
	if newSourceOf(t, set, same) != from {
		t.Error("another audience has the keys read anew")
	}
	moved := app.DeepCopy()
	moved.Spec.OIDC.Issuer = i.URL + "/tenant"
	if set.sourceOf(moved) != nil {
		t.Error("an issuer has the keys of another one")
	}
	text, err := i.Token(nil)
	must(t, err)
	_, err = set.Verify(t.Context(), moved, text)
	_ = expectUnavailable(t, err, "just changed")
	for name, after := range map[string]*v1alpha1.App{"gone": nil, "no issuer": {ObjectMeta: app.ObjectMeta}, "suspended": suspended(app)} {
		set.Replace(nil, app)
		from := newSourceOf(t, set, app)
		set.Replace(app, after)
		if from.life.Err() == nil || len(set.Apps()) != 0 {
			t.Errorf("%s: the issuer is still asked", name)
		}
	}
	_, err = set.Verify(t.Context(), suspended(app), text)
	expectRefused(t, err, "suspended")
}

func suspended(app *v1alpha1.App) *v1alpha1.App {
	app = app.DeepCopy()
	app.Spec.OIDC.Suspended = true
	return app
}
