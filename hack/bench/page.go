package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
)

// pageSize is Okta's, and constant.
const pageSize = 100

// measurePaging pages through the App as Okta's import does and returns the median time that one import takes. Imports
// of a small App are timed several at a time: else they would be so short that other work on the machine, which takes
// turns with this one every few milliseconds, never hit them, and always hit the large ones.
func (s *suite) measurePaging(ctx context.Context, e *environment, size int) (time.Duration, error) {
	if err := waitListed(ctx, e.scim, size); err != nil {
		return 0, err
	}
	var passes series
	imports := slices.Max(s.plan.populations) / size
	for range s.plan.pagingPasses {
		pass, err := e.pageThrough(ctx, size, imports)
		if err != nil {
			return 0, fmt.Errorf("paging through %d users: %w", size, err)
		}
		passes = append(passes, pass)
	}
	name, elapsed, pages := benchmarkPage(size), passes.elapsed()/time.Duration(imports), passes.total()
	s.progress.say("%s: %d imports, %s each", name, len(passes)*imports, elapsed.Round(100*time.Microsecond))
	s.report.add(figure{
		name: name, title: fmt.Sprintf("one import by %d; latency of a page", pageSize), n: len(passes) * imports, concurrency: 1,
		value: inMilliseconds(elapsed), unit: milliseconds,
		p50: percentile(pages.latencies, 50), p99: percentile(pages.latencies, 99),
	})
	s.report.add(figure{
		name: name, title: "one user's part of it", n: len(passes) * imports, concurrency: 1,
		value: 1000 * inMilliseconds(elapsed) / float64(size), unit: microseconds,
	})
	return elapsed, nil
}

// waitListed returns when the server's lists have caught up with its writes.
func waitListed(ctx context.Context, scim *scimClient, size int) error {
	var page userPage
	err := wait.PollUntilContextTimeout(ctx, 20*time.Millisecond, readyTimeout, true, func(ctx context.Context) (bool, error) {
		answer, err := scim.do(ctx, http.MethodGet, "/Users?startIndex=1&count=2", nil)
		if err == nil {
			err = errors.Join(answer.expect(http.StatusOK), answer.decode(&page))
		}
		return page.TotalResults == size, err
	})
	if err != nil {
		return fmt.Errorf("waiting for a list of %d users, it has %d: %w", size, page.TotalResults, err)
	}
	return nil
}

// userPage is what this program reads of a list.
type userPage struct {
	TotalResults int    `json:"totalResults"`
	NextCursor   string `json:"nextCursor"`
	Resources    []struct {
		ID string `json:"id"`
	}
}

// pageThrough asks for page after page, all of them several times, and then, outside the time, sees that each user came
// exactly once in each import.
func (e *environment) pageThrough(ctx context.Context, size, imports int) (measurement, error) {
	pages := (size + pageSize - 1) / pageSize
	answers := make([]reply, pages*imports)
	m := drive(ctx, len(answers), 1, func(ctx context.Context, i int) (err error) {
		path := fmt.Sprintf("/Users?startIndex=%d&count=%d", 1+i%pages*pageSize, pageSize)
		if answers[i], err = e.scim.do(ctx, http.MethodGet, path, nil); err != nil {
			return err
		}
		return answers[i].expect(http.StatusOK)
	})
	if err := firstOf(ctx.Err(), m.first); err != nil {
		return m, err
	}
	for begin := 0; begin < len(answers); begin += pages {
		if err := checkImport(answers[begin:begin+pages], size); err != nil {
			return m, err
		}
	}
	return m, nil
}

func checkImport(answers []reply, size int) error {
	seen := map[string]bool{}
	for _, answer := range answers {
		var page userPage
		if err := answer.decode(&page); err != nil {
			return err
		}
		if page.TotalResults != size {
			return fmt.Errorf("totalResults is %d, not %d", page.TotalResults, size)
		}
		for _, resource := range page.Resources {
			seen[resource.ID] = true
		}
	}
	if len(seen) != size {
		return fmt.Errorf("the pages hold %d different users, not %d", len(seen), size)
	}
	return nil
}
