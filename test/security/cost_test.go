package security_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/scim-operator/scim-operator/config"
	"github.com/scim-operator/scim-operator/hack/stack"
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
				must(b, stack.Install(b.Context(), operator.Env.Config, config.FS))
			} else {
				n.takeAway(b)
			}
			for range posts {
				serial++
				took[with] = append(took[with], post(b, scim, fmt.Sprintf("bench.%d@example.com", serial)))
			}
		}
	}
	must(b, stack.Install(context.WithoutCancel(b.Context()), operator.Env.Config, config.FS))
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
// lists of several lengths.
func BenchmarkWrites(b *testing.B) {
	n := newTenant(b)
	for _, length := range []int{0, 100, 1000} {
		b.Run(fmt.Sprintf("revoked=%d", length), func(b *testing.B) {
			users := make([]string, 0, length)
			for i := range length {
				users = append(users, fmt.Sprintf("okta:person.%d@example.com", i))
			}
			release := revoke(b, users...)
			defer release()
			serial := 0
			for b.Loop() {
				serial++
				must(b, n.client.Create(b.Context(), configMap(n.namespace, fmt.Sprintf("write-%d-%d-%d", length, b.N, serial))))
			}
		})
	}
	b.Run("no policies", func(b *testing.B) {
		n.takeAway(b)
		serial := 0
		for b.Loop() {
			serial++
			must(b, n.client.Create(b.Context(), configMap(n.namespace, fmt.Sprintf("write-none-%d-%d", b.N, serial))))
		}
		must(b, stack.Install(context.WithoutCancel(b.Context()), operator.Env.Config, config.FS))
	})
}
