package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/scim-operator/scim-operator/test/bystander"
)

// usage is what the API server and the processes have done in a time: so far, or a second.
type usage struct {
	at     time.Time
	writes float64
	work   map[string]float64 // processors, or seconds of them
}

func (e *environment) usage(ctx context.Context) (usage, error) {
	counts, err := e.apiWrites(ctx)
	u := usage{at: time.Now(), work: map[string]float64{}}
	for _, count := range counts {
		u.writes += count
	}
	for process, taken := range e.work() {
		u.work[process] = taken.Seconds()
	}
	return u, err
}

// usageSince is what was done a second since an earlier look.
func (e *environment) usageSince(ctx context.Context, before usage) (usage, error) {
	now, err := e.usage(ctx)
	seconds := now.at.Sub(before.at).Seconds()
	now.writes = (now.writes - before.writes) / seconds
	for process := range now.work {
		now.work[process] = (now.work[process] - before.work[process]) / seconds
	}
	return now, err
}

const (
	// fewWrites a second more than before the attack are no reason to measure a floor.
	fewWrites = 5
	// floorBytes is about what a User has.
	floorBytes = 1000
)

// besideFloor measures the bystander beside what of an attack the API server cannot be spared: edits of an object of the same size, or
// so many writes a second more than before the attack, by a client that has nothing to do with the product.
func (s *suite) besideFloor(ctx context.Context, e *environment, other *bystander.Bystander, attacker *bystander.Tenant, attack isolationAttack,
	result *isolation, perSecond float64,
) error {
	var load bystander.Attack
	switch {
	case attack.floor != nil:
		load = attack.floor(attacker)
	case perSecond < fewWrites:
		return nil
	default:
		load = attacker.ForeignWrites(perSecond, cmp.Or(attack.floorBytes, floorBytes))
	}
	if err := attacker.ForeignKinds(ctx); err != nil {
		return err
	}
	if err := s.settle(ctx, e); err != nil {
		return err
	}
	s.progress.say("the floor: %.0f writes a second, or the same edits, of objects that the operator knows nothing of", perSecond)
	var used usage
	var err error
	result.Floor, err = other.Beside(ctx, "the floor", s.plan.isolationTime, func(ctx context.Context) error {
		begun, err := e.usage(ctx)
		if err != nil {
			return err
		}
		loadError := load(ctx)
		used, err = e.usageSince(context.WithoutCancel(ctx), begun)
		return errors.Join(loadError, err)
	})
	result.floorWork = used.work
	return err
}

// timesOf says how many times as long the median of one took as that of the other.
func timesOf(during, before []time.Duration) float64 {
	b := percentile(before, 50)
	if b == 0 {
		return 0
	}
	return float64(percentile(during, 50)) / float64(b)
}

// slowdowns is by how much the bystander's look-ups and creates and a bare GET slowed down.
func (i isolation) slowdowns(during bystander.Figures) string {
	return fmt.Sprintf("%.1f, %.1f, %.1f", timesOf(during.LookUps, i.Before.LookUps), timesOf(during.Creates, i.Before.Creates),
		timesOf(during.Bares, i.Before.Bares))
}

// processors is what each process had of the processors.
func processors(work map[string]float64) string {
	names := []string{"kube-apiserver", "etcd", "server", "controller"}
	parts := make([]string, len(names))
	for at, name := range names {
		parts[at] = fmt.Sprintf("%.2f", work[name])
	}
	return strings.Join(parts, ", ")
}

// isolationLine is one line of the table.
type isolationLine struct {
	when, grows, writes, processors, slowdown, result string
	bystander.Figures
}

// lines are those of one attack. RESULT beside "during" is how the bounds of invariant 8 are missed, beside "floor" how they are with the
// floor in place of what was before.
func (i isolation) lines() []isolationLine {
	missed := i.Strict()
	if i.memory > memoryGrowthTarget<<20 {
		missed = append(missed, fmt.Sprintf("memory grew by more than %d MiB", memoryGrowthTarget))
	}
	lines := []isolationLine{
		{"before", "-", "-", "-", "-", "-", i.Before},
		{"during", quantity(float64(i.memory)/(1<<20), mebibytes), quantity(i.writes, perSecond), processors(i.work), i.slowdowns(i.During),
			judgement(missed), i.During},
	}
	if len(i.Floor.LookUps) > 0 {
		result := "above it: " + judgement(i.AboveFloor())
		if i.Floor.Failures > 0 {
			result += fmt.Sprintf(" (beside the floor %d requests failed, the first: %v)", i.Floor.Failures, i.Floor.First)
		}
		lines = append(lines, isolationLine{"floor", "-", "-", processors(i.floorWork), i.slowdowns(i.Floor), result, i.Floor})
	}
	return lines
}

func judgement(missed []string) string {
	if len(missed) == 0 {
		return "ok"
	}
	return strings.Join(missed, "; ")
}
