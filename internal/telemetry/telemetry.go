// Package telemetry makes the metrics of both processes: each has the prefix scim_operator_, and is in the catalog that
// docs/metrics.md is generated from, with the process that shows it. It stands on nothing of the project.
package telemetry

import (
	"slices"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
)

// Prefix of every metric.
const Prefix = "scim_operator_"

// Process tells which process shows a metric. Both are one binary, which registers all of them.
type Process string

// The processes.
const (
	Server     Process = "server"
	Controller Process = "controller"
	Both       Process = "both"
)

// Metric is one entry of the catalog.
type Metric struct {
	Name, Type, Help string
	Labels           []string
	Process          Process
}

var catalog struct {
	sync.Mutex
	metrics []Metric
	// registered are the collectors of metrics that one process alone shows.
	registered map[Process][]prometheus.Collector
	// gauges of the controller, which a new term in the same process begins without.
	gauges []*prometheus.GaugeVec
	// histograms by name, without the prefix.
	histograms map[string]*prometheus.HistogramVec
}

// Catalog returns the metrics of all packages that are linked, by name.
func Catalog() []Metric {
	catalog.Lock()
	defer catalog.Unlock()
	return slices.SortedFunc(slices.Values(catalog.metrics), func(a, b Metric) int { return strings.Compare(a.Name, b.Name) })
}

func note(process Process, kind, name, help string, labels []string) {
	catalog.Lock()
	defer catalog.Unlock()
	catalog.metrics = append(catalog.metrics, Metric{Name: Prefix + name, Type: kind, Help: help, Labels: labels, Process: process})
}

func register(process Process, collector prometheus.Collector) {
	metrics.Registry.MustRegister(collector)
	catalog.Lock()
	defer catalog.Unlock()
	if catalog.registered == nil {
		catalog.registered = map[Process][]prometheus.Collector{}
	}
	catalog.registered[process] = append(catalog.registered[process], collector)
}

// Show leaves the metrics of the other process out: a server has no leader, not even none.
func Show(process Process) {
	catalog.Lock()
	defer catalog.Unlock()
	for of, collectors := range catalog.registered {
		if of == process || of == Both {
			continue
		}
		for _, collector := range collectors {
			metrics.Registry.Unregister(collector)
		}
	}
}

// Counter registers a counter with labels. It panics where the name is taken.
func Counter(process Process, name, help string, labels ...string) *prometheus.CounterVec {
	note(process, "counter", name, help, labels)
	counter := prometheus.NewCounterVec(prometheus.CounterOpts{Name: Prefix + name, Help: help}, labels)
	register(process, counter)
	return counter
}

// Gauge registers a gauge with labels. It panics where the name is taken.
func Gauge(process Process, name, help string, labels ...string) *prometheus.GaugeVec {
	note(process, "gauge", name, help, labels)
	gauge := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: Prefix + name, Help: help}, labels)
	register(process, gauge)
	if process == Controller && len(labels) > 0 {
		catalog.Lock()
		defer catalog.Unlock()
		catalog.gauges = append(catalog.gauges, gauge)
	}
	return gauge
}

// EndTerm forgets what the leader told of single Apps: this process leads no more, and another one tells it.
func EndTerm() {
	catalog.Lock()
	defer catalog.Unlock()
	for _, gauge := range catalog.gauges {
		gauge.Reset()
	}
}

// Histogram registers a histogram with labels. It panics where the name is taken.
func Histogram(process Process, name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	note(process, "histogram", name, help, labels)
	histogram := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: Prefix + name, Help: help, Buckets: buckets}, labels)
	register(process, histogram)
	catalog.Lock()
	defer catalog.Unlock()
	if catalog.histograms == nil {
		catalog.histograms = map[string]*prometheus.HistogramVec{}
	}
	catalog.histograms[name] = histogram
	return histogram
}

// ReadHistogram returns what a histogram of this process, named without the prefix, holds by its labels. No other metric is gathered
// for it. There is none under a name that is not linked.
func ReadHistogram(name string) []*dto.Metric {
	catalog.Lock()
	histogram := catalog.histograms[name]
	catalog.Unlock()
	if histogram == nil {
		return nil
	}
	collected := make(chan prometheus.Metric)
	go func() { histogram.Collect(collected); close(collected) }()
	var read []*dto.Metric
	for one := range collected {
		metric := &dto.Metric{}
		if one.Write(metric) == nil { // it fails for labels that are no UTF-8, which no registry would show either
			read = append(read, metric)
		}
	}
	return read
}

// Collected describes a gauge with values that a prometheus.Collector works out at each scrape. The caller registers the collector.
func Collected(process Process, name, help string, labels ...string) *prometheus.Desc {
	note(process, "gauge", name, help, labels)
	return prometheus.NewDesc(Prefix+name, help, labels, nil)
}

// TraceOf returns the id of a request's trace, empty for none. It is set before the process serves metrics, and not changed after.
var TraceOf = func(_ string) string { return "" }

// exemplar names a request, and its trace where it has one.
func exemplar(requestID string) prometheus.Labels {
	labels := prometheus.Labels{"request_id": requestID}
	if id := TraceOf(requestID); id != "" {
		labels["trace_id"] = id
	}
	return labels
}

// Observe adds a value to a histogram, with the id of the request behind it as exemplar where there is one.
func Observe(histogram prometheus.Observer, value float64, requestID string) {
	with, able := histogram.(prometheus.ExemplarObserver)
	if requestID == "" || !able {
		histogram.Observe(value)
		return
	}
	with.ObserveWithExemplar(value, exemplar(requestID))
}

// Increment adds one to a counter, with the id of the request behind it as exemplar where there is one.
func Increment(counter prometheus.Counter, requestID string) {
	with, able := counter.(prometheus.ExemplarAdder)
	if requestID == "" || !able {
		counter.Inc()
		return
	}
	with.AddWithExemplar(1, exemplar(requestID))
}
