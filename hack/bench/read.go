package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/claims"
)

// readTarget is the least part of a bare live GET's rate that a read of a user must reach; missTarget that of a look-up that finds none.
const (
	readTarget = 0.9
	missTarget = 0.85
)

// measureReads compares the reads that Okta's every step begins with to bare GETs from etcd (no resourceVersion) by the
// same ServiceAccount: of the User where there is one, of the NameClaim that is not there where there is none.
func (s *suite) measureReads(ctx context.Context, e *environment, pop *population) error {
	getUser := side{name: "bare GET of a User", prepare: bareGetUsers(e, pop)}
	getNothing := side{name: "bare GET of no NameClaim", prepare: bareGetNothing(e, &s.people)}
	for _, benchmark := range []struct {
		name, title string
		subject     side
		baseline    side
		target      float64
	}{
		{benchmarkReadGet, "GET /Users/{id} : bare GET", side{name: "GET /Users/{id}", prepare: getUsers(e, pop)}, getUser, readTarget},
		{benchmarkReadHit, "userName eq, a hit : bare GET", side{name: "userName eq, hit", prepare: findUsers(e, pop)}, getUser, readTarget},
		{benchmarkReadMiss, "userName eq, a miss : bare GET", side{name: "userName eq, miss", prepare: findStrangers(e, &s.people)}, getNothing, missTarget},
	} {
		if !s.wants(benchmark.name) {
			continue
		}
		concurrency := s.plan.readConcurrency
		results, err := s.alternate(ctx, benchmark.name, s.plan.reads, concurrency, []side{benchmark.subject, benchmark.baseline})
		if err != nil {
			return fmt.Errorf("%s: %w", benchmark.name, err)
		}
		s.report.compare(benchmark.name, benchmark.title, concurrency, results[0], results[1], benchmark.target)
	}
	return nil
}

// pick returns n members at random.
func (pop *population) pick(n int) []member {
	picked := make([]member, n)
	for i := range picked {
		picked[i] = pop.members[rand.IntN(len(pop.members))]
	}
	return picked
}

func getUsers(e *environment, pop *population) func(int) (operation, error) {
	return func(n int) (operation, error) {
		picked := pop.pick(n)
		return e.ask(n, func(i int) (path, contains string) {
			return userPath(picked[i].id), `"` + picked[i].userName() + `"`
		}), nil
	}
}

func findUsers(e *environment, pop *population) func(int) (operation, error) {
	return func(n int) (operation, error) {
		picked := pop.pick(n)
		return e.ask(n, func(i int) (path, contains string) {
			return userNamePath(picked[i].userName()), `"` + picked[i].id + `"`
		}), nil
	}
}

func findStrangers(e *environment, people *people) func(int) (operation, error) {
	return func(n int) (operation, error) {
		strangers := people.take(n)
		return e.ask(n, func(i int) (path, contains string) {
			return userNamePath(strangers[i].userName()), `"totalResults":0`
		}), nil
	}
}

// ask makes an operation of n questions, each with a text that the answer must contain.
func (e *environment) ask(n int, question func(i int) (path, contains string)) operation {
	paths, contains := make([]string, n), make([][]byte, n)
	for i := range n {
		path, text := question(i)
		paths[i], contains[i] = path, []byte(text)
	}
	return func(ctx context.Context, i int) error {
		answer, err := e.scim.do(ctx, http.MethodGet, paths[i], nil)
		if err != nil {
			return err
		}
		if err := answer.expect(http.StatusOK); err != nil {
			return err
		}
		if !answer.compressed && !bytes.Contains(answer.raw, contains[i]) {
			return fmt.Errorf("GET %s: the answer does not contain %s: %.300s", paths[i], contains[i], answer.raw)
		}
		return nil
	}
}

func bareGetUsers(e *environment, pop *population) func(int) (operation, error) {
	return func(n int) (operation, error) {
		picked := pop.pick(n)
		return func(ctx context.Context, i int) error {
			return e.bare.Get(ctx, e.key(picked[i].id), &v1alpha1.User{})
		}, nil
	}
}

func bareGetNothing(e *environment, people *people) func(int) (operation, error) {
	return func(n int) (operation, error) {
		keys := make([]client.ObjectKey, n)
		for i, stranger := range people.take(n) {
			keys[i] = e.key(claims.Name(e.app.Name, v1alpha1.ClaimUserName, stranger.userName()))
		}
		return func(ctx context.Context, i int) error {
			err := e.bare.Get(ctx, keys[i], &v1alpha1.NameClaim{})
			if err == nil {
				return errors.New("there is a NameClaim of a stranger")
			}
			return client.IgnoreNotFound(err)
		}, nil
	}
}
