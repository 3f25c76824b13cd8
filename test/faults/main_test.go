// Package faults_test kills what can be killed, at random moments and under load, and then counts: nothing that was
// acknowledged may be lost, and no leaver may keep access. It drives the operator as test/okta does, with Okta's client on
// the one side and questions to the API server on the other.
package faults_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/hack/localoperator"
	okta "github.com/scim-operator/scim-operator/test/okta/client"
	"github.com/scim-operator/scim-operator/test/okta/harness"
)

// recovery bounds how long the operator may take to be right again after a fault, on a busy machine; logs tell how long it took.
const recovery = 2 * time.Minute

var operator *harness.Harness

func TestMain(m *testing.M) { harness.Main(m, &operator) }

// dice returns random numbers and logs their seed. FAULTS_SEED repeats them, though not the machine's own timing.
func dice(t *testing.T) *rand.Rand {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("FAULTS_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("FAULTS_SEED: %v", err)
		}
	}
	t.Logf("FAULTS_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// between returns a random duration.
func between(random *rand.Rand, from, to time.Duration) time.Duration {
	return from + rand.N(to-from) + time.Duration(random.Int64N(int64(time.Millisecond)))
}

// newApp makes an App of its own. Its deactivations wait no longer than confirm for a controller that may be dead.
func newApp(t *testing.T, server *localoperator.Process, confirm time.Duration) harness.App {
	t.Helper()
	operator.ShowOnFailure(t)
	return operator.NewApp(t, server, operator.Env.Namespace(t, nil), "faults", func(spec *v1alpha1.AppSpec) {
		spec.Deactivation.ConfirmWithin = &metav1.Duration{Duration: confirm}
	})
}

var people atomic.Int64

// newPerson returns a person that no other test uses.
func newPerson(first string) *okta.Assignment {
	return okta.Assign(okta.NewProfile(fmt.Sprintf("%s.%d@example.com", first, people.Add(1))))
}

// pause waits for a moment to strike, or until the test ends.
func pause(ctx context.Context, duration time.Duration) {
	timer := time.NewTimer(duration)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// tooManyRequests says whether an error is an answer 429: Okta tries again, and so do the tests.
func tooManyRequests(err error) (*okta.Exchange, bool) {
	var violation *okta.ViolationError
	if errors.As(err, &violation) && violation.Exchange.Status == http.StatusTooManyRequests {
		return violation.Exchange, violation.Exchange.ExpectError(http.StatusTooManyRequests, "") == nil
	}
	return nil, false
}

// answered says whether the server said anything that was no 429.
func answered(err error) bool {
	var violation *okta.ViolationError
	if !errors.As(err, &violation) {
		return false
	}
	_, busy := tooManyRequests(err)
	return !busy
}

// patiently repeats what Okta would: every 429 after its Retry-After, until the limit.
func patiently(ctx context.Context, limit time.Duration, action func() error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		err := action()
		exchange, busy := tooManyRequests(err)
		if !busy || ctx.Err() != nil {
			return err
		}
		pause(ctx, exchange.RetryAfter())
	}
}

// findEach checks that every acknowledged person is found, by id and by userName, as the one and only.
func findEach(t *testing.T, scim *okta.Client, acknowledged []*okta.Assignment) {
	t.Helper()
	work := make(chan *okta.Assignment)
	var wait sync.WaitGroup
	for range 4 {
		wait.Go(func() {
			for person := range work {
				if err := found(t.Context(), scim, person); err != nil {
					t.Errorf("%s was acknowledged as %s: %v", person.Profile.UserName, person.ID, err)
				}
			}
		})
	}
	for _, person := range acknowledged {
		work <- person
	}
	close(work)
	wait.Wait()
}

func found(ctx context.Context, scim *okta.Client, person *okta.Assignment) error {
	answer, err := scim.Do(ctx, http.MethodGet, "/Users/"+person.ID, nil)
	if err != nil {
		return err
	}
	if err := answer.ExpectUser(); err != nil {
		return err
	}
	if got := answer.Text("userName"); got != person.Profile.UserName {
		return fmt.Errorf("its userName is %q", got)
	}
	list, err := scim.Do(ctx, http.MethodGet, "/Users"+okta.FilterQuery(okta.Equals("userName", person.Profile.UserName)), nil)
	if err != nil {
		return err
	}
	if err := list.ExpectUsers(); err != nil {
		return err
	}
	if list.Number("totalResults") != 1 || list.Text("Resources", 0, "id") != person.ID {
		return fmt.Errorf("its userName finds another user or none\n%s", list)
	}
	return nil
}

// leftovers are User objects that no claim names: what a crash left between the two writes of a create. None of them may
// be named by a binding.
func leftovers(t *testing.T, app harness.App) []string {
	t.Helper()
	users, claims, bindings := &v1alpha1.UserList{}, &v1alpha1.NameClaimList{}, &v1alpha1.AppRoleBindingList{}
	for _, list := range []client.ObjectList{users, claims, bindings} {
		if err := operator.Env.Client.List(t.Context(), list, client.InNamespace(app.Namespace)); err != nil {
			t.Fatal(err)
		}
	}
	claimed := map[string]bool{}
	for _, claim := range claims.Items {
		claimed[claim.Spec.Holder] = true
	}
	var unclaimed []string
	for _, user := range users.Items {
		if !claimed[user.Name] {
			unclaimed = append(unclaimed, user.Name)
		}
	}
	for _, binding := range bindings.Items {
		for _, subject := range binding.Spec.Subjects {
			if slices.Contains(unclaimed, subject.User) {
				t.Errorf("AppRoleBinding %s names %s, a user without a claim", binding.Name, subject.User)
			}
		}
	}
	return unclaimed
}
