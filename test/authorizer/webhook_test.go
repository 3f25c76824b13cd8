package authorizer_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/scim-operator/scim-operator/test/okta/harness"
	"github.com/scim-operator/scim-operator/test/testenv"
)

// ask posts a body to the webhook as the API server would.
func ask(t *testing.T, contentType string, body []byte, certificate bool) (*http.Response, string, error) {
	t.Helper()
	authority, err := os.ReadFile(cluster.path("ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	config := &tls.Config{RootCAs: x509.NewCertPool()}
	config.RootCAs.AppendCertsFromPEM(authority)
	if certificate {
		pair, err := tls.LoadX509KeyPair(cluster.path("kube-apiserver.crt"), cluster.path("kube-apiserver.key"))
		if err != nil {
			t.Fatal(err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	transport := &http.Transport{TLSClientConfig: config}
	defer transport.CloseIdleConnections()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+cluster.webhook+"/authorize", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", contentType)
	response, err := (&http.Client{Transport: transport, Timeout: 10 * time.Second}).Do(request)
	if err != nil {
		return nil, "", err
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	return response, string(text), err
}

func review(user string) []byte {
	body, err := json.Marshal(&authorizationv1.SubjectAccessReview{
		TypeMeta: metav1.TypeMeta{APIVersion: "authorization.k8s.io/v1", Kind: "SubjectAccessReview"},
		Spec:     authorizationv1.SubjectAccessReviewSpec{User: user, NonResourceAttributes: &authorizationv1.NonResourceAttributes{Path: "/healthz", Verb: "get"}},
	})
	if err != nil {
		panic(err)
	}
	return body
}

// The protocol of the webhook: what is malformed is refused, a stranger has no say, and system names are never denied.
func TestProtocol(t *testing.T) {
	d := newDirectory(t, true)
	jane := d.provision("jane")
	if _, err := d.scim.Deactivate(t.Context(), jane.Assignment); err != nil {
		t.Fatal(err)
	}
	d.eventuallyReads(jane, false)
	subject := d.prefix + jane.Profile.UserName
	const kind = "application/json"
	for name, test := range map[string]struct {
		contentType string
		body        []byte
		status      int
		denied      bool
	}{
		"revoked":            {kind, review(subject), http.StatusOK, true},
		"a stranger":         {kind, review("somebody"), http.StatusOK, false},
		"another case":       {kind, review(strings.ToUpper(subject)), http.StatusOK, false},
		"of the system":      {kind, review("system:kube-scheduler"), http.StatusOK, false},
		"no JSON":            {kind, []byte("jane"), http.StatusBadRequest, false},
		"another kind":       {kind, []byte(`{"apiVersion":"v1","kind":"Pod"}`), http.StatusBadRequest, false},
		"an old version":     {kind, bytes.Replace(review(subject), []byte("k8s.io/v1"), []byte("k8s.io/v1beta1"), 1), http.StatusBadRequest, false},
		"without attributes": {kind, []byte(`{"apiVersion":"authorization.k8s.io/v1","kind":"SubjectAccessReview","spec":{"user":"x"}}`), http.StatusBadRequest, false},
		"another type":       {"text/plain", review(subject), http.StatusUnsupportedMediaType, false},
		"too large":          {kind, append(review(subject)[:20], bytes.Repeat([]byte(" "), 1<<20)...), http.StatusRequestEntityTooLarge, false},
	} {
		t.Run(name, func(t *testing.T) {
			response, text, err := ask(t, test.contentType, test.body, true)
			if err != nil {
				t.Fatal(err)
			}
			if response.StatusCode != test.status {
				t.Fatalf("answered %s: %s", response.Status, text)
			}
			if test.status != http.StatusOK {
				return
			}
			answer := &authorizationv1.SubjectAccessReview{}
			if err := json.Unmarshal([]byte(text), answer); err != nil {
				t.Fatal(err)
			}
			if answer.Status.Allowed || answer.Status.Denied != test.denied || (answer.Status.Reason != "") != test.denied || answer.Kind != "SubjectAccessReview" {
				t.Errorf("answered %s", text)
			}
		})
	}
	if response, _, err := ask(t, kind, review(subject), false); err == nil {
		t.Errorf("without a certificate: answered %s", response.Status)
	}
}

// What a question costs a request: a user that the API server asks about, beside a name that it does not ask about.
func TestOverhead(t *testing.T) {
	d := newDirectory(t, true)
	const rounds = 300
	clients := []kubernetes.Interface{d.bind("system:test-overhead-" + d.namespace), d.bind(d.prefix + "nobody")}
	for _, client := range clients {
		harness.Eventually(t, limit, "access", func(ctx context.Context) error { return reads(ctx, client) })
	}
	times := make([][]time.Duration, len(clients))
	for range rounds { // in turns, so that what else the machine does falls on both
		for i, client := range clients {
			begin := time.Now()
			if err := reads(t.Context(), client); err != nil {
				t.Fatal(err)
			}
			times[i] = append(times[i], time.Since(begin))
		}
	}
	without, with := slices.Sorted(slices.Values(times[0]))[rounds/2], slices.Sorted(slices.Values(times[1]))[rounds/2]
	t.Logf("a read takes %v, with the question %v", without, with)
	if with > 2*without+50*time.Millisecond {
		t.Errorf("the question takes %v", with-without)
	}
}

// Without the webhook the cluster goes on, and starts: requests are as RBAC has them. With it back, denials are, too.
func TestWebhookAway(t *testing.T) {
	d := newDirectory(t, true)
	jane, john := d.provision("jane"), d.provision("john")
	if _, err := d.scim.Deactivate(t.Context(), jane.Assignment); err != nil {
		t.Fatal(err)
	}
	d.eventuallyReads(jane, false)
	if err := cluster.server.Stop(); err != nil {
		t.Fatal(err)
	}
	testenv.MostlyWithin(t, "a request with the webhook away", 5*time.Second, 1, func() time.Duration {
		begin := time.Now()
		if err := reads(t.Context(), john.client); err != nil {
			t.Errorf("with the webhook away: %v", err)
		}
		return time.Since(begin)
	})
	d.eventuallyReads(jane, true) // what failurePolicy NoOpinion means, and the sample says
	if err := cluster.ControlPlane.RestartAPIServer(t.Context()); err != nil {
		t.Fatalf("the API server does not start without the webhook: %v", err)
	}
	d.eventuallyReads(john, true)
	if err := cluster.startServer(context.WithoutCancel(t.Context()), strings.TrimPrefix(cluster.server.URL, "http://")); err != nil {
		t.Fatal(err)
	}
	d.eventuallyReads(jane, false)
	if err := reads(t.Context(), john.client); err != nil {
		t.Error(err)
	}
}
