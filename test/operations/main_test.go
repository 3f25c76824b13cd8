// Package operations_test looks at what docs/disasters.md promises: what the operator does while etcd is full, corrupt, slow or away.
package operations_test

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	okta "github.com/scim-operator/scim-operator/test/okta/client"
	"github.com/scim-operator/scim-operator/test/okta/harness"
)

// patience bounds what has to happen at all, on a busy machine.
const patience = time.Minute

var operator *harness.Harness

func TestMain(m *testing.M) { harness.Main(m, &operator) }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// etcd asks etcd itself, behind the API server's back, and decodes the answer.
func etcd(t *testing.T, of *harness.Harness, path string, question, answer any) {
	t.Helper()
	config := of.Env.ControlPlane.EtcdConfig()
	httpClient, err := rest.HTTPClientFor(config)
	must(t, err)
	defer httpClient.CloseIdleConnections()
	body, err := json.Marshal(question)
	must(t, err)
	request, err := http.NewRequestWithContext(context.WithoutCancel(t.Context()), http.MethodPost, config.Host+path, bytes.NewReader(body))
	must(t, err)
	response, err := httpClient.Do(request)
	must(t, err)
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		t.Fatalf("etcd answers %s to %s", response.Status, path)
	}
	if answer != nil {
		must(t, json.NewDecoder(response.Body).Decode(answer))
	}
}

// person is one that no other test uses.
func person(name string) *okta.Assignment { return okta.Assign(okta.NewProfile(name + "@example.com")) }
