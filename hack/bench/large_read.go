package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// measureLookups compares look-ups by userName in the large directory with bare GETs, as read.go does in a small one.
func (d *largeDirectory) measureLookups(ctx context.Context) error {
	everybody := &d.large.population
	return d.compareEach(ctx, []comparison{
		{
			name: benchmarkLargeHit, title: "userName eq, a hit : bare GET", n: d.plan.reads, concurrency: d.plan.readConcurrency, target: readTarget,
			subject:  side{name: "userName eq, hit", prepare: findUsers(d.environment, everybody)},
			baseline: side{name: "bare GET of a User", prepare: bareGetUsers(d.environment, everybody)},
		},
		{
			name: benchmarkLargeMiss, title: "userName eq, a miss : bare GET", n: d.plan.reads, concurrency: d.plan.readConcurrency, target: missTarget,
			subject:  side{name: "userName eq, miss", prepare: findStrangers(d.environment, &d.people)},
			baseline: side{name: "bare GET of no NameClaim", prepare: bareGetNothing(d.environment, &d.people)},
		},
	})
}

// measurePages compares single pages of the large directory with those of the small one.
func (d *largeDirectory) measurePages(ctx context.Context) error {
	if err := d.measureScan(ctx); err != nil {
		return err
	}
	page := func(t *tenant, startIndex int, more url.Values) side {
		query := url.Values{"startIndex": {strconv.Itoa(startIndex)}, "count": {strconv.Itoa(pageSize)}}
		for name, values := range more {
			query[name] = values
		}
		op := list(t, query, fmt.Sprintf(`"totalResults":%d,`, len(t.members)))
		name := fmt.Sprintf("App %s from %d %s", t.app, startIndex, more.Encode())
		return side{name: name, prepare: func(int) (operation, error) { return op, nil }}
	}
	last := len(d.large.members)*9/10 + 1 // page 901 of a thousand
	sorted := url.Values{"sortBy": {"meta.lastModified"}, "sortOrder": {"descending"}}
	n := max(pageSize, d.plan.reads/4)
	return d.compareEach(ctx, []comparison{
		{
			name: benchmarkLargeFirst, title: "the first page of 100 : of a tenth as many", n: n, concurrency: 1, target: largeTarget,
			subject: page(d.large, 1, nil), baseline: page(d.small, 1, nil),
		},
		{
			name: benchmarkLargeDeep, title: fmt.Sprintf("page %d : the first page", last/pageSize+1), n: n, concurrency: 1, target: largeTarget,
			subject: page(d.large, last, nil), baseline: page(d.large, 1, nil),
		},
		{
			name: benchmarkLargeSort, title: "100 by meta.lastModified, newest first : of a tenth as many", n: n, concurrency: 1, target: largeTarget,
			subject: page(d.large, 1, sorted), baseline: page(d.small, 1, sorted),
		},
	})
}

// measureScan filters by something that no index has: it may cost as much as there are users, and not more for each.
func (d *largeDirectory) measureScan(ctx context.Context) error {
	if !d.wants(benchmarkLargeScan) {
		return nil
	}
	scan := func(t *tenant) side {
		// All but the last digit: ten people at most.
		number := t.members[len(t.members)/2].number
		filter := fmt.Sprintf(`name.familyName co "%s" and active eq true`, number[:len(number)-1])
		op := list(t, url.Values{"filter": {filter}, "count": {strconv.Itoa(pageSize)}}, number)
		return side{name: "App " + t.app, prepare: func(int) (operation, error) { return op, nil }}
	}
	results, err := d.alternate(ctx, benchmarkLargeScan, max(2, d.plan.reads/100), 1, []side{scan(d.large), scan(d.small)})
	if err != nil {
		return fmt.Errorf("%s: %w", benchmarkLargeScan, err)
	}
	times := float64(len(d.large.members)) / float64(len(d.small.members))
	growth := 1 / results[0].ratio(results[1])
	total := results[0].total()
	d.report.add(figure{
		name: benchmarkLargeScan, title: `familyName co "x" and active eq true : of a tenth as many, ratio: for each user`,
		n: len(total.latencies), concurrency: 1, value: results[0].rate(), unit: perSecond, baseline: results[1].rate(), ratio: growth / times,
		p50: percentile(total.latencies, 50), p99: percentile(total.latencies, 99),
		target: fmt.Sprintf("<= %.2f", largeScanTarget), verdict: atMost(growth/times, largeScanTarget), errors: total.errors, first: total.first,
	})
	d.report.add(figure{
		name: benchmarkLargeScan, title: "one user's part of it", n: len(total.latencies), concurrency: 1,
		value: 1e6 / results[0].rate() / float64(len(d.large.members)), unit: microseconds,
	})
	return nil
}

// comparison is a subject with its baseline.
type comparison struct {
	name, title       string
	subject, baseline side
	n, concurrency    int
	target            float64 // 0: none
}

func (d *largeDirectory) compareEach(ctx context.Context, comparisons []comparison) error {
	for _, c := range comparisons {
		if !d.wants(c.name) {
			continue
		}
		results, err := d.alternate(ctx, c.name, c.n, c.concurrency, []side{c.subject, c.baseline})
		if err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		d.report.compare(c.name, c.title, c.concurrency, results[0], results[1], c.target)
	}
	return nil
}

// measurePasses pages through both directories, to the end: by index, by cursor, and by cursor in another order.
func (d *largeDirectory) measurePasses(ctx context.Context) error {
	for _, kind := range []struct {
		name, title string
		query       url.Values
	}{
		{benchmarkLargeIndex, "all pages by startIndex", url.Values{"startIndex": {"1"}}},
		{benchmarkLargeCursor, "all pages by cursor", url.Values{"cursor": {""}}},
		{benchmarkLargeSortedAll, "the same, by meta.lastModified", url.Values{"cursor": {""}, "sortBy": {"meta.lastModified"}}},
	} {
		if !d.wants(kind.name) {
			continue
		}
		kind.query.Set("count", strconv.Itoa(pageSize))
		var large, small series
		for round := range min(d.plan.rounds, 3) {
			for _, side := range []struct {
				t      *tenant
				passes int
				into   *series
			}{{d.large, 1, &large}, {d.small, 10, &small}} {
				pass, err := side.t.passes(ctx, kind.query, side.passes)
				if err != nil {
					return fmt.Errorf("%s: App %s: %w", kind.name, side.t.app, err)
				}
				d.progress.say("%s: pass %d of App %s: %s a page", kind.name, round+1, side.t.app,
					(pass.elapsed / time.Duration(len(pass.latencies))).Round(time.Microsecond))
				*side.into = append(*side.into, pass)
			}
		}
		// The rates are those of pages.
		d.report.compare(kind.name, kind.title+", pages a second : of a tenth as many", 1, large, small, largeTarget)
		d.report.add(figure{
			name: kind.name, title: "one whole pass", n: len(large), concurrency: 1, value: inMilliseconds(large.elapsed()), unit: milliseconds,
		})
	}
	return nil
}

// passes pages through the App, several times, and checks that every user comes exactly once in each. Only the requests are
// timed.
func (t *tenant) passes(ctx context.Context, query url.Values, times int) (measurement, error) {
	var total measurement
	for range times {
		seen := make(map[string]bool, len(t.members))
		next := cloneValues(query)
		for next != nil {
			asked := time.Now()
			answer, err := t.scim.do(ctx, http.MethodGet, "/Users?"+next.Encode(), nil)
			took := time.Since(asked)
			if err == nil {
				err = answer.expect(http.StatusOK)
			}
			var page userPage
			if err == nil {
				err = answer.decode(&page)
			}
			if err != nil {
				return total, err
			}
			total.elapsed += took
			total.latencies = append(total.latencies, took)
			for _, resource := range page.Resources {
				seen[resource.ID] = true
			}
			next = page.next(next)
		}
		if len(seen) != len(t.members) {
			return total, fmt.Errorf("the pages hold %d different users, not %d", len(seen), len(t.members))
		}
	}
	return total, nil
}

func cloneValues(values url.Values) url.Values {
	cloned := make(url.Values, len(values))
	for name, value := range values {
		cloned[name] = value
	}
	return cloned
}

// next returns the query of the page after this one, or nil.
func (p userPage) next(query url.Values) url.Values {
	following := cloneValues(query)
	if query.Has("cursor") {
		if p.NextCursor == "" {
			return nil
		}
		following.Set("cursor", p.NextCursor)
		return following
	}
	startIndex, err := strconv.Atoi(query.Get("startIndex"))
	if err != nil || startIndex+len(p.Resources) > p.TotalResults {
		return nil
	}
	following.Set("startIndex", strconv.Itoa(startIndex+len(p.Resources)))
	return following
}
