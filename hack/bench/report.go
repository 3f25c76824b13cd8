package main

import (
	"errors"
	"fmt"
	"io"
	"runtime"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/scim-operator/scim-operator/hack/localoperator"
)

const (
	perSecond    = "/s"
	milliseconds = "ms"
	microseconds = "us"
	mebibytes    = "MiB"
	times        = "x"
	leaversUnit  = "leavers"
)

// growthTarget is the most that a user may cost in a large App, in what one costs in a small one.
const growthTarget = 1.2

// figure is one line of the table.
type figure struct {
	name, title    string
	n, concurrency int
	value          float64
	unit           string
	p50, p99       time.Duration
	baseline       float64 // in the same unit; 0: none
	ratio          float64 // 0: none
	target         string
	verdict        string // ok, below or above; "" without a target
	errors         int
	first          error
}

// report collects figures.
type report struct {
	begun     time.Time
	elapsed   time.Duration
	other     time.Duration // processor time of other programs meanwhile, since the machine started while it runs
	apiServer string
	figures   []figure
	// isolations are printed in a table of their own.
	isolations []isolation
}

// begin and end bracket the run; every process of the run has ended by then.
func (r *report) begin() {
	r.begun = time.Now()
	r.other, _ = otherWork()
}

func (r *report) end() {
	r.elapsed = time.Since(r.begun)
	if now, ok := otherWork(); ok {
		r.other = now - r.other
	}
}

func (r *report) add(f figure) { r.figures = append(r.figures, f) }

// compare adds a comparison of rates. A target of 0 is none.
func (r *report) compare(name, title string, concurrency int, subject, baseline series, target float64) {
	total, other := subject.total(), baseline.total()
	f := figure{
		name: name, title: title,
		n: len(total.latencies), concurrency: concurrency,
		value: subject.rate(), unit: perSecond,
		p50: percentile(total.latencies, 50), p99: percentile(total.latencies, 99),
		baseline: baseline.rate(), ratio: subject.ratio(baseline),
		errors: total.errors + other.errors, first: firstOf(total.first, other.first),
	}
	if target > 0 {
		f.target, f.verdict = fmt.Sprintf(">= %.2f", target), "ok"
		if f.ratio < target {
			f.verdict = "below"
		}
	}
	r.add(f)
}

func (r *report) deactivation(name string, farewells []farewell) {
	answered, denied := make([]time.Duration, len(farewells)), make([]time.Duration, len(farewells))
	early := 0
	for i, f := range farewells {
		answered[i], denied[i] = f.answered, f.denied
		if f.early {
			early++
		}
	}
	line := func(title string, latencies []time.Duration) figure {
		p50, p99 := percentile(latencies, 50), percentile(latencies, 99)
		return figure{name: name, title: title, n: len(latencies), concurrency: 1, p50: p50, p99: p99}
	}
	r.add(line("PATCH active=false to its answer", answered))
	toDenial := line("PATCH active=false to the denial", denied)
	toDenial.target, toDenial.verdict = fmt.Sprintf("p99 <= %s", denialTarget), atMost(toDenial.p99.Seconds(), denialTarget.Seconds())
	r.add(toDenial)
	r.add(figure{
		name: name, title: "answered before the denial", n: len(farewells), concurrency: 1,
		value: float64(early), unit: leaversUnit, target: "0", verdict: atMost(float64(early), 0),
	})
}

// growth adds how much more a user costs in the largest population than in the smallest: 1 is linear.
func (r *report) growth(populations []int, passes []time.Duration) {
	first, last := 0, len(populations)-1
	users := float64(populations[last]) / float64(populations[first])
	growth := passes[last].Seconds() / passes[first].Seconds()
	r.add(figure{
		name: "page-growth", title: fmt.Sprintf("time for %gx the users, ratio: the cost of one", users),
		n: populations[last], concurrency: 1, value: growth, unit: times, ratio: growth / users,
		target: fmt.Sprintf("<= %.2f", growthTarget), verdict: atMost(growth/users, growthTarget),
	})
}

func atMost(value, limit float64) string {
	if value > limit {
		return "above"
	}
	return "ok"
}

// memory adds the peak resident memory of the operator's processes so far, where the system tells it.
func (r *report) memory(e *environment, after string) {
	for _, p := range []struct {
		name    string
		process *localoperator.Process
	}{{"server", e.server}, {"controller", e.controller}} {
		if p.process == nil {
			continue
		}
		if peak, ok := peakMemory(p.process.Pid()); ok {
			r.add(figure{name: "memory", title: "peak of the " + p.name + ", " + after, value: float64(peak) / (1 << 20), unit: mebibytes})
		}
	}
}

// failures is an error when requests failed.
func (r *report) failures() error {
	var errs []error
	for _, f := range r.figures {
		if f.errors > 0 {
			errs = append(errs, fmt.Errorf("%s: %d requests failed, the first one: %w", f.name, f.errors, f.first))
		}
	}
	return errors.Join(errs...)
}

// print writes where and when, and the table.
func (r *report) print(w io.Writer) error {
	if len(r.figures) == 0 && len(r.isolations) == 0 {
		return nil
	}
	if _, err := fmt.Fprintf(w, "%s, %s %s/%s, %d cores, API server %s, whole run %s%s\n\n", r.begun.UTC().Format("2006-01-02 15:04 UTC"),
		runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), r.apiServer, r.elapsed.Round(time.Second), r.disturbance()); err != nil {
		return err
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, err := fmt.Fprintln(table, "BENCHMARK\tWHAT\tN\tCONC\tFIGURE\tP50\tP99\tBASELINE\tRATIO\tTARGET\tRESULT")
	for _, f := range r.figures {
		_, lineError := fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", f.name, f.title,
			number(f.n), number(f.concurrency), quantity(f.value, f.unit), latency(f.p50), latency(f.p99),
			unless(f.baseline == 0, quantity(f.baseline, f.unit)), unless(f.ratio == 0, fmt.Sprintf("%.2f", f.ratio)),
			unless(f.target == "", f.target), unless(f.result() == "", f.result()))
		err = errors.Join(err, lineError)
	}
	if len(r.figures) > 0 {
		err = errors.Join(err, table.Flush())
	}
	return errors.Join(err, r.printIsolations(w))
}

// printIsolations writes what a bystander saw of attacks on another tenant: before each, during it, and beside what of it no operator can
// spare the API server.
func (r *report) printIsolations(w io.Writer) error {
	if len(r.isolations) == 0 {
		return nil
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, err := fmt.Fprintln(table, "\nATTACK\tWHEN\tLOOK-UP P50\tP99\tCREATE P50\tP99\tTO DENIAL P50\tWORST\tTO 401 WORST\tFAILED\tSERVER GROWS\tWRITES\tPROCESSORS\tSLOWDOWN\tRESULT")
	for _, i := range r.isolations {
		for _, line := range i.lines() {
			_, lineError := fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%d\t%s\t%s\t%s\t%s\t%s\n", i.Attack, line.when,
				latency(percentile(line.LookUps, 50)), latency(percentile(line.LookUps, 99)),
				latency(percentile(line.Creates, 50)), latency(percentile(line.Creates, 99)),
				latency(percentile(line.Denials, 50)), latency(percentile(line.Denials, 100)), latency(percentile(line.Suspensions, 100)),
				line.Failures, line.grows, line.writes, line.processors, line.slowdown, line.result)
			err = errors.Join(err, lineError)
		}
	}
	return errors.Join(err, table.Flush())
}

// disturbance tells how much of the machine others had: the more, the less the figures say.
func (r *report) disturbance() string {
	if r.other <= 0 || r.elapsed <= 0 {
		return ""
	}
	share := r.other.Seconds() / r.elapsed.Seconds() / float64(runtime.NumCPU())
	return fmt.Sprintf(", other programs took %.0f %% of the processors", 100*share)
}

func (f figure) result() string {
	if f.errors > 0 {
		return fmt.Sprintf("%d errors", f.errors)
	}
	return f.verdict
}

func unless(absent bool, text string) string {
	if absent {
		return "-"
	}
	return text
}

func number(n int) string { return unless(n == 0, strconv.Itoa(n)) }

func quantity(value float64, unit string) string {
	switch unit {
	case "":
		return "-"
	case perSecond:
		return fmt.Sprintf("%.0f/s", value)
	case times:
		return fmt.Sprintf("%.1fx", value)
	case milliseconds:
		if value < 10 {
			return fmt.Sprintf("%.1f ms", value)
		}
		return fmt.Sprintf("%.0f ms", value)
	default:
		return fmt.Sprintf("%.0f %s", value, unit)
	}
}

func latency(d time.Duration) string {
	return unless(d == 0, fmt.Sprintf("%.1f ms", inMilliseconds(d)))
}

func inMilliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
