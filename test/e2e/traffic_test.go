//go:build e2e

package e2e_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	okta "github.com/scim-operator/scim-operator/test/okta/client"
)

const (
	// playersAtOnce is how many act at the same time.
	playersAtOnce = 8
	// readersAtOnce is how many look people up beside the players.
	readersAtOnce = 3
	// scimPort is the container's.
	scimPort = 8080
)

// traffic is Okta at work: players that act until it is stopped, and readers.
type traffic struct {
	e        *environment
	meter    *meter
	replicas *replicas
	// rest is the longest pause between two actions of one player.
	rest time.Duration

	stop context.CancelFunc
	wait sync.WaitGroup
}

// start has players act on what the last scenario left.
func (e *environment) start(t *testing.T, m *meter) *traffic {
	tr := &traffic{e: e, meter: m, rest: 40 * time.Millisecond}
	tr.begin(t)
	return tr
}

func (tr *traffic) begin(t *testing.T) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	e := tr.e
	tr.stop, tr.replicas = cancel, &replicas{e: e, all: map[string]*okta.Client{}}
	tr.replicas.refresh(ctx)
	tr.wait.Go(func() { tr.replicas.follow(ctx) })
	if e.players == nil {
		for i := range playersAtOnce {
			name := fmt.Sprintf("Team %d", i)
			if i == 0 {
				name = platformGroup
			}
			e.players = append(e.players, &player{random: rand.New(rand.NewPCG(uint64(i), uint64(time.Now().UnixNano()))), group: okta.PushedGroup{Name: name}})
		}
	}
	for _, p := range e.players {
		p.traffic, p.scim = tr, e.newClient(e.url, tr.meter)
		tr.wait.Go(func() { p.play(ctx) })
	}
	for range readersAtOnce {
		scim := e.newClient(e.url, tr.meter)
		tr.wait.Go(func() { tr.read(ctx, scim) })
	}
}

// verify stops the players for a comparison with the ledger and the oracle, and has them go on.
func (tr *traffic) verify(t *testing.T) {
	t.Helper()
	tr.end()
	tr.e.verify(t)
	tr.begin(t)
}

// read looks people up by name on connections that it keeps. A user that was acknowledged is found, under the same id.
func (tr *traffic) read(ctx context.Context, scim *okta.Client) {
	defer scim.Close()
	for ; ctx.Err() == nil; pause(ctx, time.Duration(rand.Int64N(int64(tr.rest)))) {
		people := tr.e.ledger.People()
		if len(people) == 0 {
			continue
		}
		person := people[rand.IntN(len(people))]
		finish, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
		answer, err := scim.Do(finish, http.MethodGet, "/Users"+okta.FilterQuery(okta.Equals("userName", person.UserName)), nil)
		cancel()
		if err == nil {
			err = answer.ExpectUsers()
		}
		if err != nil {
			tr.meter.fail("%v", err)
			continue
		}
		if found := answer.Resources(); len(found) != 1 || okta.At(found[0], "id") != person.ID {
			tr.meter.fail("%s is not found under id %s: %s", person.UserName, person.ID, answer)
		}
	}
}

// await returns once so many more requests were sent.
func (tr *traffic) await(t *testing.T, more int) {
	t.Helper()
	from := tr.meter.count()
	eventually(t, 5*time.Minute, fmt.Sprintf("%d more requests", more), func(context.Context) error {
		if count := tr.meter.count() - from; count < more {
			return fmt.Errorf("%d were sent", count)
		}
		return nil
	})
}

// end stops the players and returns when each has had its answer.
func (tr *traffic) end() {
	tr.stop()
	tr.wait.Wait()
	tr.replicas.close()
}

// replicas are the server's Pods that are ready.
type replicas struct {
	e   *environment
	mu  sync.Mutex
	all map[string]*okta.Client
}

// replicas returns the base URLs of the ready servers.
func (e *environment) replicas(ctx context.Context) (urls map[string]string, err error) {
	pods, err := e.pods(ctx, "server")
	urls = map[string]string{}
	for i := range pods {
		if pod := &pods[i]; isReady(pod) {
			urls[pod.Name] = fmt.Sprintf("%s://%s:%d", e.scheme, pod.Status.PodIP, scimPort)
		}
	}
	return urls, err
}

func isReady(pod *corev1.Pod) bool {
	for _, condition := range pod.Status.Conditions {
		if condition.Type == corev1.PodReady {
			return condition.Status == corev1.ConditionTrue && pod.Status.PodIP != ""
		}
	}
	return false
}

func (r *replicas) follow(ctx context.Context) {
	for ctx.Err() == nil {
		r.refresh(ctx)
		pause(ctx, 500*time.Millisecond)
	}
}

// refresh keeps what it knew where the API server does not answer.
func (r *replicas) refresh(ctx context.Context) {
	urls, err := r.e.replicas(ctx)
	if err != nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for name, scim := range r.all {
		if urls[name] == "" {
			scim.Close()
			delete(r.all, name)
		}
	}
	for name, url := range urls {
		if r.all[name] == nil {
			scim := r.e.newClient(url, nil)
			scim.Retries = 0
			r.all[name] = scim
		}
	}
}

// clients returns a client for each, by the Pod's name.
func (r *replicas) clients() map[string]*okta.Client {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make(map[string]*okta.Client, len(r.all))
	for name, scim := range r.all {
		all[name] = scim
	}
	return all
}

func (r *replicas) close() {
	for _, scim := range r.clients() {
		scim.Close()
	}
}
