package scimserver

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/token"
)

// Basic credentials without a right password are refused by the same work and with the same answer, whether their user name is known or not:
// the look-ups and the allocations (each digest is one) are counted, so that no machine's speed matters.
func TestBasicTakesTheSameWorkForEachUser(t *testing.T) {
	var tokens []*v1alpha1.ScimToken
	var accepted []v1alpha1.AcceptedToken
	for i := range 40 {
		secret := fmt.Sprintf("secret-%02d", i)
		tokens = append(tokens, scimToken(secret, "one", secret, func(t *v1alpha1.ScimToken) {
			t.Spec.Basic = &v1alpha1.BasicAuthentication{UserName: fmt.Sprintf("user-%02d", i)}
		}))
		accepted = append(accepted, v1alpha1.AcceptedToken{Name: secret, Digest: token.Digest(secret)})
	}
	held := heldCredentials(time.Now(), map[string][]v1alpha1.AcceptedToken{"one": accepted}, tokens...)
	lookUps := 0
	apps, now := held.app, held.now
	held.app = func(name types.NamespacedName) (*v1alpha1.App, bool) { lookUps++; return apps(name) }
	held.now = func() time.Time { lookUps++; return now() }
	work := func(user, password string) (int, float64, error) {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "/Users", nil)
		if err != nil {
			t.Fatal(err)
		}
		request.SetBasicAuth(user, password)
		try := func() error {
			_, err := held.authenticate(request, netip.MustParseAddr("192.0.2.1"), types.NamespacedName{})
			return err
		}
		lookUps = 0
		err = try()
		done, allocated := lookUps, testing.AllocsPerRun(50, func() { _ = try() })
		for range 4 { // others may allocate meanwhile: the least is this one's own
			allocated = min(allocated, testing.AllocsPerRun(50, func() { _ = try() }))
		}
		return done, allocated, err
	}
	if done, _, err := work("user-07", "secret-07"); err != nil || done == 0 {
		t.Fatalf("the right user and password: %v, %d look-ups", err, done)
	}
	wantDone, wantAllocated, wantErr := work("user-07", "no-token!")
	if !errors.Is(wantErr, errBadBasic) || wantAllocated == 0 {
		t.Fatalf("a known user with a wrong password: %v", wantErr)
	}
	for _, user := range []string{"user-39", "nobody!", "USER-07", "user-0\u0037", "secret-", token.ID(token.Digest("secret-07"))[:7]} {
		if done, allocated, err := work(user, "no-token!"); done != wantDone || allocated != wantAllocated || !errors.Is(err, wantErr) {
			t.Errorf("%q: %d look-ups, %v allocations, %v; a known user has %d, %v, %v", user, done, allocated, err, wantDone, wantAllocated, wantErr)
		}
	}
	if _, _, err := work("nobody!", "secret-07"); !errors.Is(err, wantErr) {
		t.Errorf("another user with a right password: %v", err)
	}
}
