package security_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/scim-operator/scim-operator/config"
	"github.com/scim-operator/scim-operator/hack/localoperator"
	okta "github.com/scim-operator/scim-operator/test/okta/client"
)

// BenchmarkPostUsers tells what the policies cost a POST /Users, which is two writes of the server: rounds with and without
// them take turns, so that what else the machine does falls on both.
func BenchmarkPostUsers(b *testing.B) {
	n := newTenant(b)
	app := n.newApp("bench")
	scim := n.opened(b, app)
	const rounds, posts = 4, 100
	took := map[bool][]time.Duration{}
	serial := 0
	for b.Loop() {
		for round := range rounds {
			with := round%2 == 0
			if with {
				must(b, localoperator.Install(b.Context(), operator.Env.Config, config.FS))
			} else {
				n.takeAway(b)
			}
			for range posts {
				serial++
				took[with] = append(took[with], post(b, scim, fmt.Sprintf("bench.%d@example.com", serial)))
			}
		}
	}
	must(b, localoperator.Install(context.WithoutCancel(b.Context()), operator.Env.Config, config.FS))
	with, without := median(took[true]), median(took[false])
	b.ReportMetric(float64(with.Microseconds())/1000, "ms/with")
	b.ReportMetric(float64(without.Microseconds())/1000, "ms/without")
	b.ReportMetric(float64(with)/float64(without), "ratio")
}

func post(b *testing.B, scim *okta.Client, userName string) time.Duration {
	b.Helper()
	body := `{"schemas":["` + okta.SchemaUser + `"],"userName":"` + userName + `","active":true}`
	exchange, err := scim.Do(b.Context(), http.MethodPost, "/Users", []byte(body))
	must(b, err)
	must(b, exchange.ExpectUser(http.StatusCreated))
	return exchange.Duration
}

func median(durations []time.Duration) time.Duration {
	return slices.Sorted(slices.Values(durations))[len(durations)/2]
}

// BenchmarkWrites tells what the policies cost writes of a ConfigMap, which only the policy on revoked people looks at, with
// lists of several Apps and lengths.
func BenchmarkWrites(b *testing.B) {
	n := newTenant(b)
	for _, size := range []struct{ lists, length int }{{1, 1}, {1, 100}, {1, 1000}, {10, 100}, {10, 1000}} {
		b.Run(fmt.Sprintf("lists=%d/revoked=%d", size.lists, size.length), func(b *testing.B) {
			for list := range size.lists {
				users := make([]string, 0, size.length)
				for i := range size.length {
					users = append(users, fmt.Sprintf("okta:person.%d@example.com", i))
				}
				release := revokeFor(b, fmt.Sprintf("bench-%d", list), users...)
				defer release()
			}
			serial := 0
			took := make([]time.Duration, 0, b.N)
			for b.Loop() {
				serial++
				begin := time.Now()
				must(b, n.client.Create(b.Context(), configMap(n.namespace, fmt.Sprintf("write-%d-%d-%d-%d", size.lists, size.length, b.N, serial))))
				took = append(took, time.Since(begin))
			}
			b.ReportMetric(float64(median(took).Microseconds())/1000, "ms-p50")
		})
	}
	b.Run("no policies", func(b *testing.B) {
		n.takeAway(b)
		serial := 0
		for b.Loop() {
			serial++
			must(b, n.client.Create(b.Context(), configMap(n.namespace, fmt.Sprintf("write-none-%d-%d", b.N, serial))))
		}
		must(b, localoperator.Install(context.WithoutCancel(b.Context()), operator.Env.Config, config.FS))
	})
}
