package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/token"
)

const (
	benchmarkLargeHit       = "large-eq-hit"
	benchmarkLargeMiss      = "large-eq-miss"
	benchmarkLargeScan      = "large-scan"
	benchmarkLargeFirst     = "large-page-first"
	benchmarkLargeDeep      = "large-page-deep"
	benchmarkLargeSort      = "large-sort"
	benchmarkLargeIndex     = "large-all-index"
	benchmarkLargeCursor    = "large-all-cursor"
	benchmarkLargeSortedAll = "large-all-sorted"
	benchmarkLargeMemory    = "large-memory"

	// largeTarget is the least part of a small directory's rate that a large one must reach where the cost must not
	// depend on the size.
	largeTarget = 0.8
	// largeScanTarget is the most that a scan may cost for each user, in what one costs in a small directory.
	largeScanTarget = 1.2
	// largeMemoryTarget is the most that the server may hold, in MiB, at 100,000 users.
	largeMemoryTarget = 600
	// largeMemoryUsers is how many users that target speaks of.
	largeMemoryUsers = 100_000
)

func benchmarkLargePatch(size int) string { return fmt.Sprintf("large-patch-%d", size) }

func (p plan) largeNames() []string {
	names := []string{
		benchmarkLargeMemory, benchmarkLargeHit, benchmarkLargeMiss, benchmarkLargeScan, benchmarkLargeFirst, benchmarkLargeDeep,
		benchmarkLargeSort, benchmarkLargeIndex, benchmarkLargeCursor, benchmarkLargeSortedAll,
	}
	for _, size := range p.groupSizes {
		names = append(names, benchmarkLargePatch(size))
	}
	return names
}

// largeDirectory is two Apps in one server, so that the small one is the large one's baseline at every moment.
type largeDirectory struct {
	*suite
	*environment
	small, large *tenant
	groups       map[int]string // ids of three groups of the large App, by size
}

// measureLarge measures the server with the large directory. The controller only makes the first users.
func (s *suite) measureLarge(ctx context.Context, e *environment) error {
	d := &largeDirectory{suite: s, environment: e, groups: map[int]string{}}
	d.large = &tenant{app: e.app.Name, scim: e.scim, newPeople: s.newPeople}
	var err error
	if d.small, err = d.anotherApp(ctx, "small"); err != nil {
		return err
	}
	empty, err := d.populate(ctx)
	if err != nil {
		return err
	}
	if err := d.measureMemory(empty, "after the start"); err != nil {
		return err
	}
	for _, measure := range []func(context.Context) error{d.measureLookups, d.measurePages, d.measurePasses, d.measurePatches} {
		if err := measure(ctx); err != nil {
			return err
		}
	}
	return d.measureMemory(empty, "in the end")
}

// anotherApp makes an App like the sample's, with a token.
func (d *largeDirectory) anotherApp(ctx context.Context, name string) (*tenant, error) {
	like := &v1alpha1.App{}
	if err := d.admin.Get(ctx, d.app, like); err != nil {
		return nil, err
	}
	secret, err := token.New()
	if err != nil {
		return nil, err
	}
	of := metav1.ObjectMeta{Namespace: like.Namespace, Name: name}
	app := &v1alpha1.App{ObjectMeta: of, Spec: like.Spec}
	app.Spec.Tokens = []v1alpha1.AcceptedToken{{Name: name, Digest: token.Digest(secret)}}
	scimToken := &v1alpha1.ScimToken{ObjectMeta: of, Spec: v1alpha1.ScimTokenSpec{App: name, Digest: token.Digest(secret)}}
	for _, object := range []client.Object{app, scimToken} {
		if err := d.admin.Create(ctx, object); err != nil {
			return nil, err
		}
	}
	if err := d.waitReady(ctx, client.ObjectKeyFromObject(app)); err != nil {
		return nil, err
	}
	return &tenant{app: name, scim: newSCIMClient(d.scim.base, secret, d.plan.readConcurrency), newPeople: d.newPeople}, nil
}

// populate fills both Apps while nothing follows, starts the server on them, and makes the groups through it. It returns
// what the server held with next to no users in them.
func (d *largeDirectory) populate(ctx context.Context) (empty int64, err error) {
	moulds := map[*tenant][]*mould{}
	for _, t := range []*tenant{d.small, d.large} {
		if moulds[t], err = d.newMoulds(ctx, d.environment, t, kinds()); err != nil {
			return 0, fmt.Errorf("making the first users: %w", err)
		}
	}
	if err := d.stopController(); err != nil {
		return 0, err
	}
	if err := d.restartServer(ctx, nil); err != nil {
		return 0, err
	}
	empty, _, _ = memoryOf(d.server.Pid())
	if err := d.restartServer(ctx, func() error {
		err := d.fast(ctx, func() error {
			if err := d.fill(ctx, d.environment, d.small, moulds[d.small], d.plan.large/10); err != nil {
				return err
			}
			return d.fill(ctx, d.environment, d.large, moulds[d.large], d.plan.large)
		})
		if err != nil {
			return err
		}
		return d.waitCached(ctx)
	}); err != nil {
		return 0, err
	}
	for _, t := range []*tenant{d.small, d.large} {
		if err := waitListed(ctx, t.scim, len(t.members)); err != nil {
			return 0, err
		}
	}
	if err := d.makeGroups(ctx, d.small, d.plan.groups/10); err != nil {
		return 0, err
	}
	return empty, d.makeGroups(ctx, d.large, d.plan.groups)
}

// restartServer ends the server, does something meanwhile, and starts it again; that takes a figure.
func (d *largeDirectory) restartServer(ctx context.Context, meanwhile func() error) error {
	if err := d.server.Stop(); err != nil {
		return err
	}
	d.server = nil
	if meanwhile != nil {
		if err := meanwhile(); err != nil {
			return err
		}
	}
	d.progress.say("starting the server")
	begun := time.Now()
	if err := d.startServer(ctx); err != nil {
		return err
	}
	if meanwhile != nil && d.wants(benchmarkLargeMemory) {
		d.report.add(figure{
			name: benchmarkLargeMemory, title: "from the server's start to its readiness", n: d.users(),
			value: inMilliseconds(time.Since(begun)), unit: milliseconds,
		})
	}
	for _, t := range []*tenant{d.small, d.large} {
		t.scim.base = d.server.URL + "/scim/v2"
	}
	return nil
}

func (d *largeDirectory) users() int { return len(d.small.members) + len(d.large.members) }

// measureMemory adds what the server holds, and what of that each user takes.
func (d *largeDirectory) measureMemory(empty int64, when string) error {
	if !d.wants(benchmarkLargeMemory) {
		return nil
	}
	resident, peak, ok := memoryOf(d.server.Pid())
	if !ok {
		return nil
	}
	const mebibyte = 1 << 20
	of := fmt.Sprintf("%d users, %d groups, ", d.users(), d.plan.groups+d.plan.groups/10)
	total := figure{name: benchmarkLargeMemory, title: "server's resident memory, " + of + when, value: float64(resident) / mebibyte, unit: mebibytes}
	if d.plan.large == largeMemoryUsers {
		total.target, total.verdict = fmt.Sprintf("< %d MiB", largeMemoryTarget), atMost(total.value, largeMemoryTarget)
	}
	total.baseline = float64(empty) / mebibyte
	d.report.add(total)
	highest := figure{name: benchmarkLargeMemory, title: "its peak so far", value: float64(peak) / mebibyte, unit: mebibytes, target: total.target}
	if total.target != "" {
		highest.verdict = atMost(highest.value, largeMemoryTarget)
	}
	d.report.add(highest)
	d.report.add(figure{
		name: benchmarkLargeMemory, title: "resident memory of one user, groups included, " + when,
		value: float64(resident-empty) / float64(d.users()), unit: "B",
	})
	return nil
}

// list makes operations that ask for lists, each with a text that its answer must contain.
func list(t *tenant, query url.Values, contains string) operation {
	path := "/Users?" + query.Encode()
	return func(ctx context.Context, _ int) error {
		answer, err := t.scim.do(ctx, http.MethodGet, path, nil)
		if err != nil {
			return err
		}
		return answer.expectText(http.StatusOK, contains)
	}
}
