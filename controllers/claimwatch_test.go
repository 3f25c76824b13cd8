package controllers_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/claims"
	"github.com/scim-operator/scim-operator/internal/membership"
)

// claimReads counts what a controller asks of claims: reads of one, and watches that began.
type claimReads struct {
	http.RoundTripper
	reads, watches *atomic.Int64
}

func (c claimReads) RoundTrip(request *http.Request) (*http.Response, error) {
	path := request.URL.Path
	if request.Method != http.MethodGet || !strings.Contains(path, "/nameclaims") {
		return c.RoundTripper.RoundTrip(request)
	}
	if strings.Contains(path, "/nameclaims/") {
		c.reads.Add(1)
	}
	response, err := c.RoundTripper.RoundTrip(request)
	if err == nil && response.StatusCode == http.StatusOK && request.URL.Query().Has("watch") {
		c.watches.Add(1)
	}
	return response, err
}

// followClaims starts the controllers of a stopped world, and returns once they watch claims. reads counts claims that were read.
func followClaims(w *world) (reads *atomic.Int64) {
	w.Helper()
	var watches atomic.Int64
	reads = &atomic.Int64{}
	w.config.Wrap(func(next http.RoundTripper) http.RoundTripper { return claimReads{next, reads, &watches} })
	w.start()
	w.eventually(func() string { return unless(watches.Load() > 0, "claims are watched") })
	return reads
}

// The claims of new users show themselves: none is read.
func TestWatchedClaimsAreNotRead(t *testing.T) {
	w := newStoppedWorld(t, nil)
	reads := followClaims(w)
	const count, most = 30, 5
	// One that comes late is looked for: a busy machine may be slower than that, now and then.
	for round := range most {
		before := reads.Load()
		users := make([]*v1alpha1.User, count)
		for i := range users {
			users[i] = w.provision(w.newUser(fmt.Sprintf("jane%d.%d@example.com", round, i), ""))
		}
		for _, user := range users {
			w.eventuallyGranted(user)
			w.eventuallyReserved(user)
		}
		got := reads.Load() - before
		t.Logf("%d reads of claims for %d users", got, count)
		if got <= count/2 {
			return
		}
	}
	t.Errorf("in each of %d rounds most claims were read", most)
}

// An API server that lets the controller watch no claims has them read.
func TestClaimsAreReadWithoutAWatch(t *testing.T) {
	w := newStoppedWorld(t, nil)
	w.config.Wrap(func(next http.RoundTripper) http.RoundTripper { return refusedWatch{next} })
	w.start()
	w.eventuallyGranted(w.provision(w.newUser("jane@example.com", "")))
}

// refusedWatch is an API server that lets the controller watch no claims.
type refusedWatch struct{ http.RoundTripper }

func (r refusedWatch) RoundTrip(request *http.Request) (*http.Response, error) {
	if strings.HasSuffix(request.URL.Path, "/nameclaims") && request.Method == http.MethodGet {
		return nil, errRefused
	}
	return r.RoundTripper.RoundTrip(request)
}

var errRefused = errors.New("refused by the test")

// Claims that others delete are made anew, of each kind: a name without one could be given to a second user or group.
func TestDeletedClaimsAreMadeAnew(t *testing.T) {
	w := newStoppedWorld(t, func(spec *v1alpha1.AppSpec) { spec.Kubernetes.UsernameFrom = v1alpha1.IdentifierEmail })
	followClaims(w)
	jane := w.newUser("jane", "")
	jane.Spec.Emails = []v1alpha1.MultiValue{{Value: "jane@example.com", Primary: true}}
	w.eventuallyGranted(w.provision(jane))
	w.eventuallyReserved(jane)
	staff := w.push("Staff", membership.InlineLimit, jane.Name)
	w.eventuallyCondition(staff, v1alpha1.ConditionNameReserved, metav1.ConditionTrue, v1alpha1.ReasonNameReserved)
	for range 3 {
		var list v1alpha1.NameClaimList
		if err := env.Client.List(w.ctx, &list, client.InNamespace(w.namespace)); err != nil || len(list.Items) != 3 {
			t.Fatalf("there are %d claims: %v", len(list.Items), err)
		}
		for i := range list.Items {
			w.delete(&list.Items[i])
		}
		for i := range list.Items {
			before := &list.Items[i]
			w.eventually(func() string {
				claim := &v1alpha1.NameClaim{}
				if err := env.Client.Get(w.ctx, client.ObjectKeyFromObject(before), claim); err != nil {
					return fmt.Sprintf("the claim of the %s: %v", before.Spec.Attribute, err)
				}
				return unless(claim.Spec.Holder == before.Spec.Holder && claim.UID != before.UID, "the claim names its holder again")
			})
		}
	}
	if !w.can("okta:jane@example.com", "get", w.namespace) {
		t.Error("the user lost its access")
	}
}

// What the watch of claims has shown decides nothing about a User that is newer: a backup puts claims back first, and by then
// another user may have the name.
func TestClaimOlderThanItsUserGrantsNothing(t *testing.T) {
	w := newStoppedWorld(t, nil)
	later := newGate("nameclaims", func(event []byte) bool { return bytes.Contains(event, []byte(`"DELETED"`)) })
	w.Cleanup(later.open)
	w.config.Wrap(later.wrap)
	followClaims(w)

	restored := w.newUser("jane@example.com", "")
	claim := w.claimOf(restored)
	w.create(claim) // the watch shows it before it shows that it is gone
	if err := env.Client.Delete(w.ctx, claim); err != nil {
		t.Fatal(err)
	}
	later.eventuallyHolds(w)
	holder := w.newUser("jane@example.com", "")
	w.provision(holder)
	w.create(restored)

	w.eventuallyCondition(restored, v1alpha1.ConditionNameReserved, metav1.ConditionFalse, v1alpha1.ReasonNameTaken)
	w.eventuallyGranted(holder)
	if granted := len(restored.Status.Roles); granted > 0 {
		t.Errorf("the user without the claim has %d roles", granted)
	}
}

// pausedStore stops before each deletion of a claim until it is told to go on: the deletion is decided by then.
type pausedStore struct {
	claims.Store[*v1alpha1.User]
	decided chan struct{}
	goOn    <-chan struct{}
}

func (s pausedStore) DeleteClaim(ctx context.Context, claim *v1alpha1.NameClaim) error {
	select {
	case s.decided <- struct{}{}:
		select {
		case <-s.goOn:
		case <-ctx.Done():
		}
	default: // decided anew
	}
	return s.Store.DeleteClaim(ctx, claim)
}

// A claim that a backup put back before its user is about to be deleted for a newcomer when the user follows: the user that the
// controller grants a role to keeps the name, and the newcomer does not get it, too. Both would be one Kubernetes user.
func TestClaimPutBackBeforeItsUser(t *testing.T) {
	for name, test := range map[string]struct {
		change              func(*v1alpha1.AppSpec)
		attribute, newcomer string
	}{
		"userName": {attribute: v1alpha1.ClaimUserName, newcomer: "Jane@example.com"},
		"address, which Kubernetes names are made of": {
			change: byEmail("put-back:"), attribute: v1alpha1.ClaimEmail, newcomer: "jane.doe@example.com",
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, test.change)
			restored, newcomer := w.newUser("jane@example.com", ""), w.newUser(test.newcomer, "")
			restored.Spec.CreatedAt = &metav1.MicroTime{Time: time.Now().Add(-time.Hour)}
			restored.Spec.Emails = []v1alpha1.MultiValue{{Value: "jane@example.com", Primary: true}}
			newcomer.Spec.Emails = restored.Spec.Emails
			w.create(w.claimOf(restored))
			if test.attribute != v1alpha1.ClaimUserName {
				w.create(w.claimBy(restored, test.attribute))
			}

			goOn := make(chan struct{})
			store := pausedStore{claims.NewStore(env.Client, w.namespace, func() *v1alpha1.User { return &v1alpha1.User{} }), make(chan struct{}, 1), goOn}
			created := make(chan error, 1)
			go func() {
				created <- claims.New(store, claims.Users).Create(w.ctx, newcomer.DeepCopy(), othersOf(store, test.attribute)...)
			}()
			select {
			case <-store.decided:
			case err := <-created:
				t.Fatal("no deletion of the claim was decided:", err)
			}
			w.create(restored)
			w.eventuallyGranted(restored)
			close(goOn)

			var taken *claims.TakenError
			if err := <-created; !errors.As(err, &taken) || taken.Holder != restored.Name {
				t.Errorf("the newcomer: %v, want that %s has the name", err, restored.Name)
			}
			w.eventuallyGranted(restored)
			if err := env.Client.Get(w.ctx, client.ObjectKeyFromObject(newcomer), &v1alpha1.User{}); !apierrors.IsNotFound(err) {
				t.Errorf("the newcomer is there: %v", err)
			}
		})
	}
}

func (d *directory) claimBy(user *v1alpha1.User, attribute string) *v1alpha1.NameClaim {
	claim, key := d.claimOf(user), claims.KeyBy(attribute, &user.Spec)
	claim.Name = claims.Name(user.Spec.App, attribute, key)
	claim.Spec.Attribute, claim.Spec.Value = attribute, key
	return claim
}

// othersOf returns what the server claims beside the userName.
func othersOf(store claims.Store[*v1alpha1.User], attribute string) []*claims.Protocol[*v1alpha1.User] {
	if attribute == v1alpha1.ClaimUserName {
		return nil
	}
	return []*claims.Protocol[*v1alpha1.User]{claims.New(store, claims.UsersBy(attribute))}
}
