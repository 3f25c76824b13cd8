package main

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

// TestQuickRun goes through every benchmark on a real control plane. What the figures are is not asserted: the machine
// may be busy.
func TestQuickRun(t *testing.T) {
	s, err := parse([]string{"-quick"}, t.Output())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.measure(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.report.failures(); err != nil {
		t.Error(err)
	}
	var table bytes.Buffer
	if err := s.report.print(&table); err != nil {
		t.Fatal(err)
	}
	t.Log("\n" + table.String())

	seen := map[string]bool{}
	for _, f := range s.report.figures {
		seen[f.name] = true
		if f.unit == perSecond && f.value <= 0 || f.baseline < 0 || f.ratio < 0 {
			t.Errorf("%s: %s: rate %v, baseline %v, ratio %v", f.name, f.title, f.value, f.baseline, f.ratio)
		}
	}
	for _, isolated := range s.report.isolations {
		for _, attack := range isolationAttacks {
			seen[attack.name] = seen[attack.name] || attack.title == isolated.Attack
		}
	}
	for _, name := range append(s.plan.names(), "page-growth") {
		if !seen[name] {
			t.Errorf("the run produced no figure of %s", name)
		}
	}
}

func TestDriveDoesEachOperationOnce(t *testing.T) {
	const n, concurrency = 100, 7
	done := make([]int, n) // no two workers write one element
	errOdd := errors.New("odd")
	m := drive(t.Context(), n, concurrency, func(_ context.Context, i int) error {
		done[i]++
		if i%2 == 1 {
			return errOdd
		}
		return nil
	})
	for i, count := range done {
		if count != 1 {
			t.Errorf("operation %d was done %d times", i, count)
		}
	}
	if len(m.latencies) != n/2 || m.errors != n/2 || !errors.Is(m.first, errOdd) {
		t.Errorf("got %d latencies, %d errors, first %v; want %d of each", len(m.latencies), m.errors, m.first, n/2)
	}
}

func TestStatistics(t *testing.T) {
	var latencies []time.Duration
	for i := 200; i > 0; i-- {
		latencies = append(latencies, time.Duration(i))
	}
	for percent, want := range map[int]time.Duration{50: 100, 99: 198, 100: 200} {
		if got := percentile(latencies, percent); got != want {
			t.Errorf("percentile %d of 1 to 200 is %d, want %d", percent, got, want)
		}
	}
	if got := percentile(latencies[:1], 99); got != 200 {
		t.Errorf("percentile 99 of one value is %d, want that value", got)
	}
	if got := percentile(nil, 50); got != 0 {
		t.Errorf("percentile of nothing is %d, want 0", got)
	}
	if got := median([]float64{3, 1, 2}); got != 2 {
		t.Errorf("median of 3, 1, 2 is %v, want 2", got)
	}
	if got := median([]float64{4, 1, 3, 2}); got != 2.5 {
		t.Errorf("median of 4, 1, 3, 2 is %v, want 2.5", got)
	}
}

func TestReportJudgesByTheMedianOfTheRounds(t *testing.T) {
	round := func(perSecond int) measurement {
		return measurement{elapsed: time.Second, latencies: make([]time.Duration, perSecond)}
	}
	// The middle round of the ratios 1.0, 0.7 and 0.9 decides, not the rates over all rounds.
	subject, baseline := series{round(100), round(700), round(90)}, series{round(100), round(1000), round(100)}
	r := &report{}
	r.compare("create-8", "enough", 8, subject, baseline, 0.9)
	r.compare("create-8", "too little", 8, subject, baseline, 0.95)
	r.deactivation("deactivate-10", []farewell{{answered: time.Second, denied: 3 * time.Second, early: true}})
	r.growth([]int{100, 1000}, []time.Duration{time.Second, 12 * time.Second})
	want := []struct {
		ratio   float64
		verdict string
	}{{0.9, "ok"}, {0.9, "below"}, {0, ""}, {0, "above"}, {0, "above"}, {1.2, "ok"}}
	for i, f := range r.figures {
		if f.ratio != want[i].ratio || f.verdict != want[i].verdict {
			t.Errorf("%s %s: ratio %v, verdict %q, want %v and %q", f.name, f.title, f.ratio, f.verdict, want[i].ratio, want[i].verdict)
		}
	}
	var table bytes.Buffer
	if err := r.print(&table); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"create-8", ">= 0.95", "below", "3000.0 ms", "p99 <= 2s", "12.0x"} {
		if !strings.Contains(table.String(), text) {
			t.Errorf("the table does not contain %q:\n%s", text, table.String())
		}
	}
}

func TestFailedRequestsFailTheRun(t *testing.T) {
	errRefused := errors.New("refused")
	r := &report{}
	good := series{{elapsed: time.Second, latencies: make([]time.Duration, 1)}}
	bad := series{{elapsed: time.Second, latencies: make([]time.Duration, 1), errors: 2, first: errRefused}}
	r.compare("read-get", "", 8, good, good, 0.8)
	if err := r.failures(); err != nil {
		t.Errorf("no request failed, but: %v", err)
	}
	r.compare("read-hit", "", 8, good, bad, 0.8)
	if err := r.failures(); !errors.Is(err, errRefused) {
		t.Errorf("two requests failed, but the error is %v", err)
	}
}

func TestSelection(t *testing.T) {
	for pattern, last := range map[string]int{"": 1, "create": -1, "read": 0, "page-120$": 0, "deactivate-240": 1} {
		s, err := parse([]string{"-quick", "-run", pattern}, t.Output())
		if err != nil {
			t.Fatal(err)
		}
		if got := s.lastPopulation(); got != last {
			t.Errorf("-run %q fills the App up to population %d, want %d", pattern, got, last)
		}
	}
	if _, err := parse([]string{"-run", "nothing"}, t.Output()); err == nil {
		t.Error("-run nothing was accepted")
	}
}

// TestBaselineWritesAnotherPerson keeps the baseline from writing the same name twice.
func TestBaselineWritesAnotherPerson(t *testing.T) {
	var numbers people
	taken := numbers.take(2)
	template := &pairTemplate{
		person: taken[0],
		user:   []byte(`{"metadata":{"name":"jane-n00000001-abc"},"spec":{"userName":"jane.n00000001@example.com"}}`),
		claim:  []byte(`{"metadata":{"name":"x"},"spec":{"app":"a","attribute":"userName","value":"jane.n00000001@example.com","holder":"jane-n00000001-abc"}}`),
	}
	user, claim, err := template.forPerson(taken[1])
	if err != nil {
		t.Fatal(err)
	}
	if user.Name != "jane-n00000002-abc" || user.Spec.UserName != taken[1].userName() {
		t.Errorf("the user is %s with userName %s", user.Name, user.Spec.UserName)
	}
	if claim.Spec.Holder != user.Name || claim.Spec.Value != taken[1].userName() || len(claim.Name) != 52 {
		t.Errorf("the claim is %s: %+v", claim.Name, claim.Spec)
	}
}
