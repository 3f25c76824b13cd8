package controllers_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/controllers"
	"github.com/scim-operator/scim-operator/internal/informers"
	"github.com/scim-operator/scim-operator/internal/leadership"
)

// lockOf returns a lock by a real Lease.
func lockOf(t *testing.T, namespace, identity string) *leadership.Lock {
	t.Helper()
	clientset, err := kubernetes.NewForConfig(env.Config)
	if err != nil {
		t.Fatal(err)
	}
	return &leadership.Lock{Interface: &resourcelock.LeaseLock{
		LeaseMeta: metav1.ObjectMeta{Namespace: namespace, Name: "lock"}, Client: clientset.CoordinationV1(),
		LockConfig: resourcelock.ResourceLockConfig{Identity: identity},
	}}
}

// A process may write for a term after each renewal, and no longer than the Lease is its own.
func TestTermsOfLeaders(t *testing.T) {
	held := func(by string) resourcelock.LeaderElectionRecord {
		return resourcelock.LeaderElectionRecord{HolderIdentity: by, LeaseDurationSeconds: 15}
	}
	type scene struct {
		ctx     context.Context
		own     *leadership.Lock
		another resourcelock.Interface
		pass    func(time.Duration)
	}
	take := func(s scene) error {
		_, _, err := s.own.Get(s.ctx)
		return errors.Join(err, s.own.Update(s.ctx, held("own")))
	}
	lose := func(s scene) error {
		_, _, err := s.another.Get(s.ctx)
		return errors.Join(err, s.another.Update(s.ctx, held("another")))
	}
	see := func(s scene) error { _, _, err := s.own.Get(s.ctx); return err }
	vacate := func(s scene) error { return s.another.Update(s.ctx, held("")) }
	pass := func(d time.Duration) func(scene) error { return func(s scene) error { s.pass(d); return nil } }
	giveBack := func(s scene) error { return s.own.Update(s.ctx, held("")) }
	for name, test := range map[string]struct {
		steps  []func(scene) error
		want   bool
		fails  bool
		holder string
	}{
		"standing by":                  {steps: nil, holder: "nobody"},
		"elected":                      {steps: []func(scene) error{take, pass(leadership.Term - 1)}, want: true, holder: "own"},
		"not renewed in time":          {steps: []func(scene) error{take, pass(leadership.Term)}, holder: "own"},
		"renewed":                      {steps: []func(scene) error{take, pass(leadership.Term - 1), take, pass(leadership.Term - 1)}, want: true, holder: "own"},
		"another took it":              {steps: []func(scene) error{take, lose, see}, holder: "another"},
		"given back":                   {steps: []func(scene) error{take, giveBack}, holder: ""},
		"not renewed, it is another's": {steps: []func(scene) error{take, lose, pass(leadership.Term - 1), func(s scene) error { return s.own.Update(s.ctx, held("own")) }, pass(1)}, fails: true, holder: "another"},
		"another's is not given back":  {steps: []func(scene) error{take, lose, see, giveBack}, fails: true, holder: "another"},
		"deposed for good":             {steps: []func(scene) error{take, lose, see, vacate, take}, fails: true, holder: ""},
	} {
		t.Run(name, func(t *testing.T) {
			namespace := env.Namespace(t, nil)
			now := time.Now()
			s := scene{ctx: t.Context(), own: lockOf(t, namespace, "own"), another: lockOf(t, namespace, "another").Interface, pass: func(d time.Duration) { now = now.Add(d) }}
			s.own.Now = func() time.Time { return now }
			if err := s.another.Create(t.Context(), held("nobody")); err != nil {
				t.Fatal(err)
			}
			var err error
			for _, step := range test.steps {
				err = errors.Join(err, step(s))
			}
			if (err != nil) != test.fails || s.own.MayWrite() != test.want {
				t.Errorf("may write %t, error %v; want %t, fails %t", s.own.MayWrite(), err, test.want, test.fails)
			}
			record, _, err := s.another.Get(t.Context())
			if err != nil || record.HolderIdentity != test.holder {
				t.Errorf("the Lease is %q's, %v; want %q", record.HolderIdentity, err, test.holder)
			}
		})
	}
}

// cable is the way to a Lease, which may be cut.
type cable struct {
	resourcelock.Interface
	cut bool
}

var errCut = &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}

func (c *cable) Get(ctx context.Context) (*resourcelock.LeaderElectionRecord, []byte, error) {
	if c.cut {
		return nil, nil, errCut
	}
	return c.Interface.Get(ctx)
}

func (c *cable) Update(ctx context.Context, record resourcelock.LeaderElectionRecord) error {
	if c.cut {
		return errCut
	}
	return c.Interface.Update(ctx, record)
}

// A leader that is cut off from the API server writes nothing and keeps its election. Afterwards it goes on, unless another
// process led in between: then never again.
func TestLeadersOutlastAnAPIServer(t *testing.T) {
	held := func(by string) resourcelock.LeaderElectionRecord {
		return resourcelock.LeaderElectionRecord{HolderIdentity: by, LeaseDurationSeconds: 4}
	}
	for name, deposed := range map[string]bool{"alone": false, "with a successor": true} {
		t.Run(name, func(t *testing.T) {
			namespace, now := env.Namespace(t, nil), time.Now()
			own, another := lockOf(t, namespace, "own"), lockOf(t, namespace, "another").Interface
			way := &cable{Interface: own.Interface}
			own.Interface, own.Away, own.Now = way, informers.Away, func() time.Time { return now }
			if err := own.Create(t.Context(), held("own")); err != nil {
				t.Fatal(err)
			}
			way.cut = true
			for range 100 {
				now = now.Add(leadership.RenewInterval)
				if err := own.Update(t.Context(), held("own")); err != nil {
					t.Fatalf("a renewal during the outage: %v", err)
				}
				if record, _, err := own.Get(t.Context()); err != nil || record.HolderIdentity != "own" {
					t.Fatalf("the Lease during the outage: %v, %v", record, err)
				}
			}
			if own.MayWrite() {
				t.Error("it may write during the outage")
			}
			if deposed {
				_, _, err := another.Get(t.Context())
				if err := errors.Join(err, another.Update(t.Context(), held("another"))); err != nil {
					t.Fatal(err)
				}
			}
			way.cut = false
			err := own.Update(t.Context(), held("own"))
			if deposed {
				_, _, err := own.Get(t.Context()) // which the election does next
				if err != nil {
					t.Fatal(err)
				}
				way.cut = true
				if err := own.Update(t.Context(), held("own")); err == nil {
					t.Error("a deposed leader takes an outage for a renewal")
				}
			}
			if (err != nil) != deposed || own.MayWrite() == deposed {
				t.Errorf("after the outage: may write %t, error %v", own.MayWrite(), err)
			}
		})
	}
}

// A standby waits for the API server without an error for each attempt, and ends with its context.
func TestStandbysWaitForAnAPIServer(t *testing.T) {
	own := lockOf(t, env.Namespace(t, nil), "own")
	own.Interface, own.Away = &cable{Interface: own.Interface, cut: true}, informers.Away
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, _, err := own.Get(ctx); !errors.Is(err, syscall.ECONNREFUSED) || ctx.Err() == nil {
		t.Errorf("error %v, context %v", err, ctx.Err())
	}
}

// What a process that may not write asks for is not sent; it reads all the same.
func TestOnlyLeadersWrite(t *testing.T) {
	namespace := env.Namespace(t, nil)
	lock := lockOf(t, namespace, "own")
	httpClient, err := rest.HTTPClientFor(env.Config)
	if err != nil {
		t.Fatal(err)
	}
	c, err := client.New(env.Config, client.Options{HTTPClient: lock.Client(httpClient)})
	if err != nil {
		t.Fatal(err)
	}
	object := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "written"}}
	if err := c.Create(t.Context(), object.DeepCopy()); !errors.Is(err, leadership.ErrNotLeading) {
		t.Errorf("creating without the Lease: %v", err)
	}
	if err := lock.Create(t.Context(), resourcelock.LeaderElectionRecord{HolderIdentity: "own", LeaseDurationSeconds: 15}); err != nil {
		t.Fatal(err)
	}
	if err := c.Create(t.Context(), object); err != nil {
		t.Fatal(err)
	}
	late := time.Now().Add(leadership.Term)
	lock.Now = func() time.Time { return late }
	before := object.DeepCopy()
	object.Data = map[string]string{"late": "write"}
	for what, err := range map[string]error{
		"updating": c.Update(t.Context(), object.DeepCopy()),
		"patching": c.Patch(t.Context(), object.DeepCopy(), client.MergeFrom(before)),
		"deleting": c.Delete(t.Context(), object.DeepCopy()),
	} {
		if !errors.Is(err, leadership.ErrNotLeading) {
			t.Errorf("%s without a renewal: %v", what, err)
		}
	}
	if err := c.Get(t.Context(), client.ObjectKeyFromObject(object), object); err != nil || len(object.Data) > 0 {
		t.Errorf("read %v, %v", object.Data, err)
	}
}

// electedLeader starts controllers that elect a leader. depose gives the Lease to another process, and returns once the leader saw it.
func (w *world) electedLeader() (depose func() *coordinationv1.Lease) {
	w.Helper()
	var answers atomic.Int64 // to reads and writes of the Lease
	w.config.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(request *http.Request) (*http.Response, error) {
			if !strings.HasSuffix(request.URL.Path, "/leases/"+controllers.LeaderElectionID) {
				return next.RoundTrip(request)
			}
			defer answers.Add(1)
			return next.RoundTrip(request)
		})
	})
	w.elect = true
	w.start()
	return func() *coordinationv1.Lease {
		w.Helper()
		lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: controllers.DefaultOperatorNamespace, Name: controllers.LeaderElectionID}}
		w.Cleanup(func() { _ = env.Client.Delete(context.WithoutCancel(w.ctx), lease) })
		successor, long := "successor", int32(3600)
		update(w, lease, func(l *coordinationv1.Lease) { l.Spec.HolderIdentity, l.Spec.LeaseDurationSeconds = &successor, &long })
		before := answers.Load() // one may be under way, and the next one begins later than that is looked at
		w.eventually(func() string { return unless(answers.Load() > before+2, "the leader looked at its Lease") })
		select {
		case err := <-w.done:
			w.Fatalf("the manager has ended, which leaves nothing to test: %v", err)
		default:
		}
		return lease
	}
}

// After another process took the Lease, the leader writes nothing from the moment that it sees so, long before its election
// ends.
func TestDeposedLeaderBindsNobody(t *testing.T) {
	w := newStoppedWorld(t, nil)
	depose := w.electedLeader()
	w.eventuallyGranted(w.provision(w.newUser("early", "")))
	lease := depose()
	late := w.provision(w.newUser("late", ""))
	for end := time.Now().Add(2 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if w.named("okta:late") || len(w.userNow(late).Status.Conditions) > 0 {
			t.Fatal("a leader without its Lease bound a user, or wrote a status")
		}
	}
	if err := <-w.done; err == nil {
		t.Error("the manager ended as if nothing had happened")
	}
	w.stop = func() {}
	if err := env.Client.Get(t.Context(), client.ObjectKeyFromObject(lease), lease); err != nil || *lease.Spec.HolderIdentity != "successor" {
		t.Errorf("the Lease is %q's, %v", *lease.Spec.HolderIdentity, err)
	}
}

// A leader without its Lease may not write about a leaver. It tries again at a pace, not as fast as a failed write allows:
// an absence of the API server filled logs with errors that all had one cause.
func TestWithoutTheLeaseRetriesArePaced(t *testing.T) {
	w := newStoppedWorld(t, nil)
	depose := w.electedLeader()
	leavers := make([]*v1alpha1.User, 5)
	for i := range leavers {
		leavers[i] = w.provision(w.newUser(fmt.Sprintf("leaver-%d", i), ""))
		w.eventuallyGranted(leavers[i])
	}
	depose()
	before, begun := reconcileErrors(t, "user"), time.Now()
	for _, leaver := range leavers {
		update(w, leaver, deactivate)
	}
	time.Sleep(2 * time.Second) // not a wait for anything: the time that is counted over
	errs := reconcileErrors(t, "user") - before
	if took := time.Since(begun); float64(errs) > (1+took.Seconds())*float64(len(leavers)) {
		t.Errorf("%d leavers gave %d errors in %s", len(leavers), errs, took)
	}
	for _, leaver := range leavers {
		if w.userNow(leaver).Status.ObservedGeneration >= w.userNow(leaver).Generation {
			t.Errorf("%s: a leader without its Lease wrote a status", leaver.Name)
		}
	}
	if err := <-w.done; err == nil {
		t.Error("the manager ended as if nothing had happened")
	}
	w.stop = func() {}
}

// reconcileErrors counts the reconciles of a controller that failed so far.
func reconcileErrors(t *testing.T, name string) int {
	t.Helper()
	families, err := metrics.Registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	count := 0.0
	for _, family := range families {
		if family.GetName() != "controller_runtime_reconcile_errors_total" {
			continue
		}
		for _, metric := range family.GetMetric() {
			if metric.GetLabel()[0].GetValue() == name {
				count += metric.GetCounter().GetValue()
			}
		}
	}
	return int(count)
}

func (k *cluster) userNow(user *v1alpha1.User) *v1alpha1.User {
	k.Helper()
	now := &v1alpha1.User{}
	if err := env.Client.Get(k.ctx, client.ObjectKeyFromObject(user), now); err != nil {
		k.Fatal(err)
	}
	return now
}
