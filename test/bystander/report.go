package bystander

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// The bounds of invariant 8 in docs/architecture.md.
const (
	medianFactor = 2
	tailFactor   = 5
	eventTarget  = time.Second
)

// The bounds for a machine with most of its processors taken by other programs.
const (
	looseFactor = 10
	looseFloor  = 500 * time.Millisecond
	looseEvent  = 10 * time.Second
)

// warmUp is how long an attack runs before its figures count.
const warmUp = time.Second

// Attack runs until ctx ends and returns then, with an error where it could not attack. That the server refuses its requests
// is none.
type Attack func(ctx context.Context) error

// Report holds the figures of one attack.
type Report struct {
	Attack         string
	Before, During Figures
	// Floor are figures beside what the API server cannot be spared, sent by a client that has nothing to do with the product;
	// without any, the figures before the attack stand for them.
	Floor Figures
}

// Under measures the bystander for so long without the attack and again during it, and returns when the attack has ended. The
// error is about ctx, or the attack's own.
func (b *Bystander) Under(ctx context.Context, name string, duration time.Duration, attack Attack) (Report, error) {
	report := Report{Attack: name}
	var err error
	if report.Before, err = b.Measure(ctx, duration); err != nil {
		return report, err
	}
	report.During, err = b.Beside(ctx, name, duration, attack)
	return report, err
}

// Beside measures the bystander for so long during an attack, and returns when that has ended. Errors are as with Under.
func (b *Bystander) Beside(ctx context.Context, name string, duration time.Duration, attack Attack) (Figures, error) {
	attacking, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- attack(attacking) }()
	select {
	case err := <-ended:
		return Figures{}, fmt.Errorf("the attack %s ended before it was measured: %w", name, err)
	case <-time.After(warmUp):
	}
	during, err := b.Measure(ctx, duration)
	stop()
	return during, errors.Join(err, <-ended)
}

// Strict lists how the figures miss invariant 8: look-ups and creates within 2 times (median) and 5 times (99th percentile)
// of what they were, a denial and a suspension within a second, no failure. Benchmarks on a quiet machine judge by it.
func (r Report) Strict() []string { return r.missed(r.Before) }

// AboveFloor lists the same with the floor in place of what the figures were: what the product adds to what the API server alone costs.
func (r Report) AboveFloor() []string {
	if len(r.Floor.LookUps) == 0 {
		return r.missed(r.Before)
	}
	return r.missed(r.Floor)
}

func (r Report) missed(than Figures) []string {
	var missed []string
	compare := func(what string, before, during []time.Duration, percent, factor int) {
		b, d := Percentile(before, percent), Percentile(during, percent)
		if len(during) == 0 || d > time.Duration(factor)*b {
			missed = append(missed, fmt.Sprintf("%s p%d %s, more than %d times %s", what, percent, round(d), factor, round(b)))
		}
	}
	compare("look-up", than.LookUps, r.During.LookUps, 50, medianFactor)
	compare("look-up", than.LookUps, r.During.LookUps, 99, tailFactor)
	compare("create", than.Creates, r.During.Creates, 50, medianFactor)
	compare("create", than.Creates, r.During.Creates, 99, tailFactor)
	return append(missed, r.events(eventTarget)...)
}

// Loose lists what no noise of a machine explains: a failure, a figure ten times what it was and above half a second, a denial or
// a suspension after ten seconds. Tests assert it is empty.
func (r Report) Loose() []string {
	var missed []string
	for _, kind := range []struct {
		what           string
		before, during []time.Duration
	}{{"look-up", r.Before.LookUps, r.During.LookUps}, {"create", r.Before.Creates, r.During.Creates}} {
		b, d := Percentile(kind.before, 50), Percentile(kind.during, 50)
		if len(kind.during) == 0 || d > max(looseFactor*b, looseFloor) {
			missed = append(missed, fmt.Sprintf("%s p50 %s, before the attack %s", kind.what, round(d), round(b)))
		}
	}
	return append(missed, r.events(looseEvent)...)
}

func (r Report) events(limit time.Duration) []string {
	var missed []string
	for _, kind := range []struct {
		what string
		took []time.Duration
	}{{"deactivation to denial", r.During.Denials}, {"suspension to 401", r.During.Suspensions}} {
		if worst := Percentile(kind.took, 100); len(kind.took) == 0 || worst > limit {
			missed = append(missed, fmt.Sprintf("%s %s at worst, of %d", kind.what, round(worst), len(kind.took)))
		}
	}
	if r.During.Failures > 0 {
		missed = append(missed, fmt.Sprintf("%d requests failed, the first: %v", r.During.Failures, r.During.First))
	}
	return missed
}

// String is one line a figure, before and during.
func (r Report) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, before → during: ", r.Attack)
	for _, kind := range []struct {
		what           string
		before, during []time.Duration
	}{
		{"look-up", r.Before.LookUps, r.During.LookUps},
		{"create", r.Before.Creates, r.During.Creates},
		{"grant", r.Before.Grants, r.During.Grants},
		{"denial", r.Before.Denials, r.During.Denials},
		{"suspension", r.Before.Suspensions, r.During.Suspensions},
	} {
		fmt.Fprintf(&b, "%s p50 %s → %s, p99 %s → %s (%d → %d); ", kind.what,
			round(Percentile(kind.before, 50)), round(Percentile(kind.during, 50)),
			round(Percentile(kind.before, 99)), round(Percentile(kind.during, 99)), len(kind.before), len(kind.during))
	}
	fmt.Fprintf(&b, "failures %d → %d", r.Before.Failures, r.During.Failures)
	return b.String()
}

func round(d time.Duration) time.Duration { return d.Round(10 * time.Microsecond) }

// Percentile is the smallest time that at least so many percent of all are not above; 0 where there is none.
func Percentile(times []time.Duration, percent int) time.Duration {
	if len(times) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(times))
	return sorted[(len(sorted)*percent+99)/100-1]
}
