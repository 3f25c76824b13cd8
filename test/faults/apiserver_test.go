package faults_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	okta "github.com/scim-operator/scim-operator/test/okta/client"
	"github.com/scim-operator/scim-operator/test/okta/harness"
)

const (
	loaders = 6
	outage  = 2 * time.Second
	// answerLimit is the server's own bound of a request, 30 seconds, and time on a busy machine; Okta hangs up after 60.
	answerLimit = 55 * time.Second
)

// load is one worker's view of the outage.
type load struct {
	people  []*okta.Assignment
	want    map[string]harness.Access
	answers int
	busy    int
	slowest time.Duration
	err     error
}

// The API server is killed under load and comes back. During the outage every request is answered, by success or by 429
// with whole seconds to wait; afterwards everything that was acknowledged is there and access is as it should be.
func TestAPIServerRestart(t *testing.T) {
	app := newApp(t, operator.Server, 500*time.Millisecond)
	scim := operator.Client(operator.Server, "/scim/v2", app, okta.Template)

	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	loads := make([]*load, loaders)
	var wait sync.WaitGroup
	for i := range loads {
		loads[i] = &load{want: map[string]harness.Access{}}
		wait.Go(func() { loads[i].run(ctx, t.Context(), scim, app) })
	}
	// One client has no patience: it asks all the time, and must be answered all the time.
	impatient := &load{}
	wait.Go(func() { impatient.ask(ctx, t.Context(), scim) })
	pause(t.Context(), time.Second)
	if err := operator.Env.ControlPlane.KillAPIServer(); err != nil {
		t.Fatal(err)
	}
	pause(t.Context(), outage)
	begun := time.Now()
	if err := operator.Env.ControlPlane.StartAPIServer(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Logf("the API server is ready again after %s", time.Since(begun).Round(time.Millisecond))
	took := harness.Eventually(t, recovery, "a successful create", func(ctx context.Context) error {
		_, err := scim.AssignUser(ctx, newPerson("recovered"))
		return err
	})
	t.Logf("the first create succeeded %s later", took.Round(time.Millisecond))
	pause(t.Context(), time.Second)
	stop()
	wait.Wait()
	// The tests after this one make Apps.
	if err := operator.Env.AwaitPolicies(t.Context()); err != nil {
		t.Error(err)
	}

	for _, process := range []struct {
		name string
		done <-chan struct{}
	}{{"server", operator.Server.Done()}, {"controller", operator.Controller.Done()}} {
		select {
		case <-process.done:
			t.Fatalf("the %s did not survive the outage", process.name)
		default:
		}
	}
	want, people := total(t, append(slices.Clone(loads), impatient))
	findEach(t, scim, people)
	everybodyHas(t, want)
}

// total adds up the workers, and fails on what any of them should not have seen.
func total(t *testing.T, loads []*load) (map[string]harness.Access, []*okta.Assignment) {
	t.Helper()
	want := map[string]harness.Access{}
	var people []*okta.Assignment
	answers, busy, slowest := 0, 0, time.Duration(0)
	for _, l := range loads {
		if l.err != nil {
			t.Error(l.err)
		}
		maps.Copy(want, l.want)
		people = slices.Concat(people, l.people)
		answers, busy, slowest = answers+l.answers, busy+l.busy, max(slowest, l.slowest)
	}
	t.Logf("%d answers, %d of them 429, the slowest after %s", answers, busy, slowest.Round(time.Millisecond))
	if busy == 0 {
		t.Error("no request met the outage: the test has tested nothing")
	}
	if slowest > answerLimit {
		t.Errorf("an answer took %s, more than %s", slowest, answerLimit)
	}
	return want, people
}

// run provisions people and lets two of three leave, each step again until it is done.
func (l *load) run(until, ctx context.Context, scim *okta.Client, app harness.App) {
	for turn := 0; until.Err() == nil && l.err == nil; turn++ {
		person := newPerson("loaded")
		if !l.step(ctx, person, scim.AssignUser) {
			return
		}
		l.people = append(l.people, person)
		subject := app.Subject(person.Profile.UserName)
		l.want[subject] = harness.Everywhere(harness.Viewer)
		if turn%3 == 0 {
			continue
		}
		if !l.step(ctx, person, scim.Deactivate) {
			return
		}
		l.want[subject] = harness.Nowhere()
	}
}

// ask sends requests of every kind without waiting for what Retry-After says.
func (l *load) ask(until, ctx context.Context, scim *okta.Client) {
	person := newPerson("asked.for")
	if !l.step(ctx, person, scim.AssignUser) {
		return
	}
	l.people = append(l.people, person)
	target := "/Users/" + person.ID
	for until.Err() == nil && l.err == nil {
		for _, request := range []struct {
			method, target string
			body           []byte
		}{
			{http.MethodGet, target, nil},
			{http.MethodGet, "/Users" + okta.FilterQuery(okta.Equals("userName", person.Profile.UserName)), nil},
			{http.MethodGet, "/Users?startIndex=1&count=2", nil},
			{http.MethodPatch, target, okta.PatchBody(okta.ObjectOf("op", "replace", "value", okta.ObjectOf("title", "asked")))},
			{http.MethodGet, "/Schemas", nil},
		} {
			answer, err := scim.Do(ctx, request.method, request.target, request.body)
			if err == nil {
				err = answer.ExpectStatus(http.StatusOK, http.StatusTooManyRequests)
			}
			if err != nil {
				l.err = err
				return
			}
			l.answers++
			l.slowest = max(l.slowest, answer.Duration)
			if answer.Status == http.StatusTooManyRequests {
				l.busy++
			}
		}
		pause(ctx, 20*time.Millisecond)
	}
}

// step repeats an action until it succeeds, as Okta's queue does: a job that met 429 begins anew.
func (l *load) step(ctx context.Context, person *okta.Assignment, action func(context.Context, *okta.Assignment) (okta.Conversation, error)) bool {
	l.err = patiently(ctx, recovery, func() error {
		conversation, err := action(ctx, person)
		for _, exchange := range conversation {
			l.answers++
			l.slowest = max(l.slowest, exchange.Duration)
		}
		if _, busy := tooManyRequests(err); busy {
			l.busy++
		}
		return err
	})
	var violation *okta.ViolationError
	if l.err != nil && !errors.As(l.err, &violation) {
		l.err = fmt.Errorf("a request was left without an answer: %w", l.err)
	}
	return l.err == nil
}
