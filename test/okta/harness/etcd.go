package harness

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"testing"

	"k8s.io/client-go/rest"
)

// Etcd asks etcd itself, behind the API server's back, and decodes the answer into answer, which may be nil. It works to the end of a test.
func (h *Harness) Etcd(t testing.TB, path string, question, answer any) {
	t.Helper()
	config := h.Env.ControlPlane.EtcdConfig()
	httpClient, err := rest.HTTPClientFor(config)
	if err != nil {
		t.Fatal(err)
	}
	defer httpClient.CloseIdleConnections()
	body, err := json.Marshal(question)
	if err != nil {
		t.Fatal(err)
	}
	request, err := http.NewRequestWithContext(context.WithoutCancel(t.Context()), http.MethodPost, config.Host+path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	response, err := httpClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		t.Fatalf("etcd answers %s to %s", response.Status, path)
	}
	if answer == nil {
		return
	}
	if err := json.NewDecoder(response.Body).Decode(answer); err != nil {
		t.Fatal(err)
	}
}

// Alarm has etcd raise an alarm, such as NOSPACE or CORRUPT, until over is called or the test ends.
func (h *Harness) Alarm(t testing.TB, kind string) (over func()) {
	t.Helper()
	alarm := func(action string) {
		t.Helper()
		h.Etcd(t, "/v3/maintenance/alarm", map[string]any{"action": action, "memberID": 0, "alarm": kind}, nil)
	}
	alarm("ACTIVATE")
	over = func() { alarm("DEACTIVATE") }
	t.Cleanup(over)
	return over
}
