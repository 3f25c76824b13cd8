package fair

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
)

const removal = 100

// keys are "namespace/app/name".
func newTestQueue(workers, others int) *Queue[string] {
	return NewQueue(Options[string]{
		Lane: func(key string) Lane {
			parts := strings.SplitN(key, "/", 3)
			return Lane{Namespace: parts[0], Name: parts[1]}
		},
		Workers: workers, Others: others, Removal: removal,
		RateLimiter: workqueue.NewTypedItemExponentialFailureRateLimiter[string](time.Millisecond, time.Second),
	})
}

func add(q *Queue[string], priority int, keys ...string) {
	q.AddWithOpts(priorityqueue.AddOpts{Priority: &priority}, keys...)
}

// take returns the keys that workers would be given if none of them ended its work.
func take(q *Queue[string], limit int) []string {
	var taken []string
	q.mutex.Lock()
	defer q.mutex.Unlock()
	for range limit {
		next := q.next()
		if next == nil {
			break
		}
		taken = append(taken, next.value)
	}
	return taken
}

func named(app string, count int) []string {
	keys := make([]string, count)
	for i := range keys {
		keys[i] = fmt.Sprintf("%s/%d", app, i)
	}
	return keys
}

func TestAppsTakeTurns(t *testing.T) {
	q := newTestQueue(100, 100)
	add(q, 0, named("a/one", 50)...)
	add(q, 0, named("b/two", 2)...)
	add(q, 50, "c/three/late")
	got := take(q, 7)
	want := []string{"a/one/0", "b/two/0", "c/three/late", "a/one/1", "b/two/1", "a/one/2", "a/one/3"}
	if !slices.Equal(got, want) {
		t.Errorf("taken %v, want %v", got, want)
	}
}

func TestWithinAnAppPriorityThenArrival(t *testing.T) {
	q := newTestQueue(100, 100)
	add(q, 0, "a/one/1", "a/one/2", "a/one/3")
	add(q, -10, "a/one/low")
	add(q, 50, "a/one/left", "a/one/3")
	add(q, 0, "a/one/left")
	if got, want := take(q, 10), []string{"a/one/left", "a/one/3", "a/one/1", "a/one/2", "a/one/low"}; !slices.Equal(got, want) {
		t.Errorf("taken %v, want %v", got, want)
	}
}

func TestAnAppGetsNoMoreThanItsShare(t *testing.T) {
	for name, test := range map[string]struct {
		add  func(*Queue[string])
		want map[string]int
	}{
		"alone":                  {func(q *Queue[string]) { add(q, 0, named("a/one", 200)...) }, map[string]int{"a": 48}},
		"beside another":         {func(q *Queue[string]) { add(q, 0, named("a/one", 200)...); add(q, 0, named("b/two", 200)...) }, map[string]int{"a": 28, "b": 27}},
		"apps of one namespace":  {func(q *Queue[string]) { add(q, 0, named("a/one", 200)...); add(q, 0, named("a/two", 200)...) }, map[string]int{"a": 48}},
		"removals beside others": {func(q *Queue[string]) { add(q, removal, named("a/one", 200)...); add(q, 0, named("b/two", 200)...) }, map[string]int{"a": 75, "b": 3}},
	} {
		t.Run(name, func(t *testing.T) {
			q := newTestQueue(100, 64)
			test.add(q)
			got := map[string]int{}
			for _, key := range take(q, 200) {
				got[key[:1]]++
			}
			if !maps.Equal(got, test.want) {
				t.Errorf("taken %v, want %v", got, test.want)
			}
		})
	}
}

// Whatever others hold and never end, a removal of an App that had nothing to do is handed out at once.
func TestARemovalAlwaysFindsAWorker(t *testing.T) {
	q := newTestQueue(128, 64)
	for i := range 20 {
		app := fmt.Sprintf("tenant-%d/app", i)
		add(q, 0, named(app, 200)...)
		add(q, removal, named(app+"/leaver", 200)...)
	}
	take(q, 10_000)
	add(q, 0, "bystander/app/grant")
	add(q, removal, "bystander/app/leaver")
	if got := take(q, 1); !slices.Equal(got, []string{"bystander/app/leaver"}) {
		t.Errorf("taken %v", got)
	}
	if taken := q.all.taken; taken >= 128 {
		t.Errorf("all workers are taken: %d", taken)
	}
}

func TestAKeyIsWorkedOnByOneAtATime(t *testing.T) {
	q := newTestQueue(10, 10)
	add(q, 0, "a/one/x")
	if got := take(q, 2); !slices.Equal(got, []string{"a/one/x"}) {
		t.Fatalf("taken %v", got)
	}
	add(q, 0, "a/one/x")
	add(q, removal, "a/one/x")
	if got := take(q, 1); got != nil {
		t.Fatalf("taken %v while it is worked on", got)
	}
	q.Done("a/one/x")
	key, priority, _ := q.GetWithPriority()
	if key != "a/one/x" || priority != removal {
		t.Errorf("got %s at %d", key, priority)
	}
	q.Done(key)
	if got := take(q, 1); got != nil || q.Len() != 0 || len(q.working) != 0 || q.all.taken != 0 || q.rest.taken != 0 {
		t.Errorf("left: %v, %d, %v, %+v", got, q.Len(), q.working, q.all)
	}
}

func TestDelays(t *testing.T) {
	q := newTestQueue(10, 10)
	q.AddAfter("a/one/late", time.Hour)
	q.AddAfter("a/one/soon", 30*time.Millisecond)
	q.AddAfter("a/one/sooner", time.Hour)
	q.AddAfter("a/one/sooner", 10*time.Millisecond)
	q.AddAfter("a/one/now", time.Hour)
	add(q, 0, "a/one/now")
	var got []string
	for range 3 {
		key, _, _ := q.GetWithPriority()
		got = append(got, key)
	}
	if want := []string{"a/one/now", "a/one/sooner", "a/one/soon"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	q.AddRateLimited("a/one/failed")
	if key, _ := q.Get(); key != "a/one/failed" || q.NumRequeues(key) != 1 {
		t.Errorf("got %s, %d failures", key, q.NumRequeues(key))
	}
	if q.Len() != 0 || len(q.delayed) != 1 {
		t.Errorf("%d wait, %d have a delay", q.Len(), len(q.delayed))
	}
}

func TestShutDownEndsWorkers(t *testing.T) {
	q := newTestQueue(10, 10)
	var workers sync.WaitGroup
	for range 10 {
		workers.Go(func() {
			for {
				key, shutdown := q.Get()
				if shutdown {
					return
				}
				q.Done(key)
			}
		})
	}
	add(q, 0, named("a/one", 1000)...)
	q.ShutDown()
	workers.Wait()
	add(q, 0, "a/one/x")
	if !q.ShuttingDown() || q.Len() > 1000 {
		t.Errorf("the queue goes on")
	}
}

// Under random adds, delays and work, no key is lost, none is worked on twice at once, and all places come back.
func TestNothingIsLost(t *testing.T) {
	const workers, keys, adds = 16, 200, 20_000
	q := newTestQueue(workers, workers/2)
	var mutex sync.Mutex
	asked, seen, working := map[string]int{}, map[string]int{}, map[string]bool{}
	var done sync.WaitGroup
	for range workers {
		done.Go(func() {
			for {
				key, shutdown := q.Get()
				if shutdown {
					return
				}
				mutex.Lock()
				if working[key] {
					t.Errorf("%s is worked on twice", key)
				}
				working[key] = true
				seen[key] = asked[key]
				mutex.Unlock()
				if rand.IntN(50) == 0 {
					time.Sleep(time.Millisecond)
				}
				mutex.Lock()
				delete(working, key)
				mutex.Unlock()
				q.Done(key)
			}
		})
	}
	for range adds {
		key := fmt.Sprintf("%d/app/%d", rand.IntN(5), rand.IntN(keys))
		mutex.Lock()
		asked[key]++
		mutex.Unlock()
		priority := []int{-100, 0, 50, removal}[rand.IntN(4)]
		q.AddWithOpts(priorityqueue.AddOpts{Priority: &priority, After: time.Duration(rand.IntN(3)) * time.Millisecond}, key)
	}
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
		mutex.Lock()
		missing := 0
		for key, count := range asked {
			if seen[key] != count {
				missing++
			}
		}
		mutex.Unlock()
		if missing == 0 && q.State().Working == 0 {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("%d keys were not worked on after they were added last: %+v", missing, q.State())
		}
	}
	q.ShutDown()
	done.Wait()
	if q.all.taken != 0 || q.rest.taken != 0 || len(q.waiting) != 0 || len(q.all.lanes) != 0 {
		t.Errorf("left: %+v, %+v, %d", q.all, q.rest, len(q.waiting))
	}
}

func TestStalled(t *testing.T) { synctest.Test(t, testStalled) }

func testStalled(t *testing.T) {
	q := newTestQueue(2, 2)
	add(q, removal, "a/one/x", "b/two/y", "c/three/z")
	if state := q.State(); state != (State{}) {
		t.Errorf("a standby's queue is %+v", state)
	}
	if _, shutdown := q.Get(); shutdown {
		t.Fatal("shut down")
	}
	time.Sleep(20 * time.Millisecond)
	state := q.State()
	if err := state.Stalled(time.Millisecond, time.Hour); err == nil || !strings.Contains(err.Error(), "2 removals wait") {
		t.Errorf("stalled: %v, %+v", err, state)
	}
	if err := state.Stalled(time.Hour, 0); err != nil {
		t.Errorf("stalled: %v", err)
	}
	q.Done("a/one/x")
	if err := q.State().Stalled(10*time.Millisecond, time.Hour); err != nil {
		t.Errorf("stalled though a removal has just been ended: %v", err)
	}
	if _, shutdown := q.Get(); shutdown {
		t.Fatal("shut down")
	}
	time.Sleep(20 * time.Millisecond)
	if err := q.State().Stalled(time.Millisecond, time.Millisecond); err == nil || !strings.Contains(q.State().Lane.String(), "b/two") {
		t.Errorf("a worker that is stuck does not show: %+v", q.State())
	}
}

// Of each kind of work the oldest counts, whichever App it is of and in whatever order it came.
func TestStateTellsTheOldest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newTestQueue(1, 1)
		add(q, removal, "a/one/worked-on")
		if _, shutdown := q.Get(); shutdown {
			t.Fatal("shut down")
		}
		add(q, removal, "b/two/y")
		time.Sleep(3 * time.Second)
		add(q, removal, "a/one/z", "c/three/x")
		add(q, 0, "c/three/w")
		time.Sleep(2 * time.Second)
		want := State{
			Removals: Waiting{3, 5 * time.Second}, Others: Waiting{1, 2 * time.Second},
			Working: 1, Longest: 5 * time.Second, Lane: Lane{Namespace: "a", Name: "one"},
		}
		got := q.State()
		got.Quiet = 0
		if got != want {
			t.Errorf("state %+v, want %+v", got, want)
		}
	})
}

func TestWatchedQueuesShowInChecksAndMetrics(t *testing.T) {
	q := newTestQueue(1, 1)
	remove := Watched.Add("test", q)
	defer remove()
	add(q, removal, "a/one/x", "b/two/y")
	if _, shutdown := q.Get(); shutdown {
		t.Fatal("shut down")
	}
	time.Sleep(20 * time.Millisecond)
	if err := Watched.Stalled(time.Millisecond); err == nil || !strings.HasPrefix(err.Error(), "test: 1 removals wait, the oldest for ") {
		t.Errorf("stalled: %v", err)
	}
	if err := Watched.Stalled(time.Hour); err != nil {
		t.Errorf("stalled: %v", err)
	}
	families, err := metrics.Registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]float64{}
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			labels := ""
			for _, label := range metric.GetLabel() {
				labels += "," + label.GetValue()
			}
			seen[family.GetName()+labels] = metric.GetGauge().GetValue()
		}
	}
	for name, want := range map[string]float64{"scim_operator_queue_waiting,removal,test": 1, "scim_operator_queue_waiting,other,test": 0, "scim_operator_queue_working,test": 1} {
		if got, found := seen[name]; !found || got != want {
			t.Errorf("%s = %v, %v, want %v", name, got, found, want)
		}
	}
	if seen["scim_operator_queue_oldest_seconds,removal,test"] <= 0 || seen["scim_operator_queue_longest_work_seconds,test"] <= 0 {
		t.Errorf("ages: %v", seen)
	}
	remove()
	if err := Watched.Stalled(time.Millisecond); err != nil {
		t.Errorf("stalled by a queue that is gone: %v", err)
	}
}

func TestSlotsTakeTurns(t *testing.T) {
	s := NewSlots(4, 2)
	ctx := t.Context()
	hold := []func(){s.Acquire(ctx, Lane{Namespace: "a"}, nil), s.Acquire(ctx, Lane{Namespace: "a"}, nil)}
	blocked, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
	defer cancel()
	if s.Acquire(blocked, Lane{Namespace: "a"}, nil) != nil {
		t.Error("a third slot for one App")
	}
	other := s.Acquire(ctx, Lane{Namespace: "b"}, nil)
	if other == nil {
		t.Fatal("no slot for another App")
	}
	giveUp := make(chan struct{}, 1)
	giveUp <- struct{}{}
	if s.Acquire(ctx, Lane{Namespace: "a"}, giveUp) != nil {
		t.Error("a slot for a caller that gave up")
	}
	hold[0]()
	hold[0]()
	if again := s.Acquire(ctx, Lane{Namespace: "a"}, nil); again == nil {
		t.Error("the slot was not given back")
	} else {
		again()
	}
	hold[1]()
	other()
	if s.shares.taken != 0 || len(s.shares.lanes) != 0 {
		t.Errorf("left: %+v", s.shares)
	}
}

func BenchmarkQueue(b *testing.B) {
	q := newTestQueue(64, 64)
	keys := append(named("a/one", 1000), named("b/two", 1000)...)
	for i := 0; b.Loop(); i++ {
		q.Add(keys[i%len(keys)])
		if i%64 == 63 {
			for range 64 {
				key, _ := q.Get()
				q.Done(key)
			}
		}
	}
}

// A key that waits for the end of its delay keeps the highest priority that it was added with.
func TestADelayedKeyKeepsItsPriority(t *testing.T) {
	q := newTestQueue(10, 10)
	low, high := 0, 100
	q.AddWithOpts(priorityqueue.AddOpts{Priority: &low, After: 20 * time.Millisecond}, "a/one/key")
	q.AddWithOpts(priorityqueue.AddOpts{Priority: &high, After: time.Hour}, "a/one/key")
	if key, priority, _ := q.GetWithPriority(); key != "a/one/key" || priority != high {
		t.Errorf("%s came with priority %d", key, priority)
	}
}
