package fair

import (
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/scim-operator/scim-operator/internal/telemetry"
)

const (
	// ReadyLimit is the limit for Stalled after which a process is not ready.
	ReadyLimit = time.Minute
	// LiveLimit is the limit for Stalled after which a process is to be restarted.
	LiveLimit = 5 * time.Minute
	// maxWork is what work on one object may take: reconciles and runs end by themselves before.
	maxWork = 2 * time.Minute
)

// Watched has the state of queues in metrics. Queues of one name count together: a process may have several managers, one
// after the other.
var Watched = newWatched()

type stateful interface{ State() State }

type watched struct {
	waiting, oldest, working, longest *prometheus.Desc

	mutex  sync.Mutex
	queues map[stateful]string
}

func newWatched() *watched {
	describe := func(name, help string, labels ...string) *prometheus.Desc {
		return telemetry.Collected(telemetry.Controller, "queue_"+name, help, labels...)
	}
	w := &watched{
		waiting: describe("waiting", "Objects that wait for a worker, by kind of work: removal or other.", "queue", "kind"),
		oldest:  describe("oldest_seconds", "How long the oldest object has waited for a worker, by kind of work.", "queue", "kind"),
		working: describe("working", "Objects that are worked on.", "queue"),
		longest: describe("longest_work_seconds", "How long the longest work on one object has lasted so far.", "queue"),
		queues:  map[stateful]string{},
	}
	metrics.Registry.MustRegister(w)
	return w
}

// Add has a queue in the metrics until the returned function is called.
func (w *watched) Add(name string, queue stateful) (remove func()) {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	w.queues[queue] = name
	return func() {
		w.mutex.Lock()
		defer w.mutex.Unlock()
		delete(w.queues, queue)
	}
}

// Describe implements prometheus.Collector.
func (w *watched) Describe(descriptions chan<- *prometheus.Desc) {
	for _, description := range []*prometheus.Desc{w.waiting, w.oldest, w.working, w.longest} {
		descriptions <- description
	}
}

// Collect implements prometheus.Collector.
func (w *watched) Collect(collected chan<- prometheus.Metric) {
	gauge := func(description *prometheus.Desc, value float64, labels ...string) {
		collected <- prometheus.MustNewConstMetric(description, prometheus.GaugeValue, value, labels...)
	}
	for name, state := range w.states() {
		for kind, waiting := range map[string]Waiting{"removal": state.Removals, "other": state.Others} {
			gauge(w.waiting, float64(waiting.Count), name, kind)
			gauge(w.oldest, waiting.Oldest.Seconds(), name, kind)
		}
		gauge(w.working, float64(state.Working), name)
		gauge(w.longest, state.Longest.Seconds(), name)
	}
}

// Stalled returns, for the first queue found, why its work makes no progress for longer than a limit; nil where all goes on.
// It is for readiness and liveness: a process with hanging workers is alive in name only.
func (w *watched) Stalled(limit time.Duration) error {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	for queue, name := range w.queues {
		if err := queue.State().Stalled(limit, maxWork); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

func (w *watched) states() map[string]State {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	states := map[string]State{}
	for queue, name := range w.queues {
		one, sum := queue.State(), states[name]
		for _, pair := range []struct{ sum, one *Waiting }{{&sum.Removals, &one.Removals}, {&sum.Others, &one.Others}} {
			pair.sum.Count += pair.one.Count
			pair.sum.Oldest = max(pair.sum.Oldest, pair.one.Oldest)
		}
		sum.Working += one.Working
		sum.Longest = max(sum.Longest, one.Longest)
		states[name] = sum
	}
	return states
}
