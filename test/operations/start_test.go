package operations_test

import (
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// A process that starts while the API server cannot read a kind says so, and ends after 100 seconds with the cause in its last line.
func TestStartBesideAnObjectThatTheAPIServerCannotRead(t *testing.T) {
	operator.ShowOnFailure(t)
	remove := putGarbage(t, "users", operator.Env.Namespace(t, nil), "garbage")
	defer remove()
	list := &unstructured.UnstructuredList{}
	list.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("UserList"))
	awaitUnreadable(t, list)
	const key, patient = "/garbage,", 3 * time.Minute
	begun := time.Now()
	server, err := operator.BeginServer(t.Context())
	must(t, err)
	var told time.Duration
	for time.Since(begun) < patient {
		select {
		case <-server.Done():
			lines := strings.Split(strings.TrimSpace(server.Tail()), "\n")
			last := lines[len(lines)-1]
			t.Logf("it tells the key after %s, and ends after %s: %s", told.Round(time.Second), time.Since(begun).Round(time.Second), last)
			if !strings.Contains(last, "cannot read User") || !strings.Contains(last, key) || told == 0 || server.Wait() == nil {
				t.Errorf("it ended with %v and %q", server.Wait(), last)
			}
			return
		case <-time.After(time.Second):
		}
		if err := server.Ready(t.Context()); told == 0 && err != nil && strings.Contains(err.Error(), "User cannot be read") && strings.Contains(err.Error(), key) {
			told = time.Since(begun)
		}
	}
	_ = server.Kill()
	t.Errorf("it goes on after %s", patient)
}
