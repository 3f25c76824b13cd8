package main

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
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
	// baselineWriters bounds the writes under way at a time, of a client that has nothing to do with the product.
	baselineWriters = 16
	// baselineBytes is about what a User has.
	baselineBytes = 1000
)

// sameWrites measures a bare GET while an administrator's client creates ConfigMaps, so many a second: what the API server,
// etcd and the machine make of that many writes, whatever sends them.
func (s *suite) sameWrites(ctx context.Context, e *environment, perSecond float64, get func(context.Context) error) ([]time.Duration, error) {
	s.progress.say("the same %.0f writes a second of ConfigMaps", perSecond)
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "baseline-"}}
	if err := e.admin.Create(ctx, namespace); err != nil {
		return nil, err
	}
	writing, stop := context.WithCancel(ctx)
	defer stop()
	begun := time.Now()
	var serial atomic.Int64
	var writers sync.WaitGroup
	for range baselineWriters {
		writers.Go(func() {
			for writing.Err() == nil {
				number := serial.Add(1)
				due := begun.Add(time.Duration(float64(number) / max(perSecond, 0.1) * float64(time.Second)))
				select {
				case <-writing.Done():
					return
				case <-time.After(time.Until(due)):
				}
				_ = e.admin.Create(writing, &corev1.ConfigMap{
					ObjectMeta: metav1.ObjectMeta{Namespace: namespace.Name, Name: fmt.Sprint("baseline-", number)},
					Data:       map[string]string{"text": strings.Repeat("x", baselineBytes)},
				})
			}
		})
	}
	defer writers.Wait()
	defer stop()
	var times []time.Duration
	ticker := time.NewTicker(bareInterval)
	defer ticker.Stop()
	for end := begun.Add(s.plan.isolationTime / 2); time.Now().Before(end) && ctx.Err() == nil; <-ticker.C {
		asked := time.Now()
		if err := get(ctx); err != nil {
			return nil, err
		}
		times = append(times, time.Since(asked))
	}
	return times, ctx.Err()
}

// bareInterval is between two bare GETs: as between the bystander's look-ups.
const bareInterval = 50 * time.Millisecond

// times says how many times as long the median of one took as that of the other.
func timesOf(during, before []time.Duration) float64 {
	b := percentile(before, 50)
	if b == 0 {
		return 0
	}
	return float64(percentile(during, 50)) / float64(b)
}

// slowdowns is by how much the bystander's look-ups and creates slowed down, a bare GET during the same attack, and a bare GET beside
// the same number of others' writes.
func (i isolation) slowdowns() string {
	return fmt.Sprintf("%.1f, %.1f, %.1f, %.1f", timesOf(i.During.LookUps, i.Before.LookUps), timesOf(i.During.Creates, i.Before.Creates),
		timesOf(i.During.Bares, i.Before.Bares), timesOf(i.baseline, i.Before.Bares))
}

// processors is what each process had of the processors during the attack.
func (i isolation) processors() string {
	names := []string{"kube-apiserver", "etcd", "server", "controller"}
	parts := make([]string, len(names))
	for at, name := range names {
		parts[at] = fmt.Sprintf("%.2f", i.work[name])
	}
	return strings.Join(parts, ", ")
}
