package faults_test

import (
	"fmt"
	"maps"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/scim-operator/scim-operator/hack/localoperator"
	okta "github.com/scim-operator/scim-operator/test/okta/client"
	"github.com/scim-operator/scim-operator/test/okta/harness"
)

// fleet is two servers, one of which may be dead at any time.
type fleet struct {
	app     harness.App
	clients [2]*okta.Client
	mu      sync.Mutex
	servers [2]*localoperator.Process
}

func newFleet(t *testing.T) *fleet {
	t.Helper()
	f := &fleet{}
	for i := range f.servers {
		server, err := operator.RunServer(t.Context(), "")
		if err != nil {
			t.Fatal(err)
		}
		f.servers[i] = server
	}
	f.app = newApp(t, f.servers[0], 2*time.Second)
	operator.Opens(t, f.servers[1], f.app)
	for i, server := range f.servers {
		f.clients[i] = operator.Client(server, "/scim/v2", f.app, okta.Template)
	}
	t.Cleanup(func() {
		for i, server := range f.servers {
			f.clients[i].Close()
			if err := server.Stop(); err != nil {
				t.Error(err)
			}
		}
	})
	return f
}

// strike kills one of the servers and brings it back at its address.
func (f *fleet) strike(t *testing.T, victim int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.servers[victim].Kill(); err != nil {
		t.Error(err)
		return
	}
	server, err := operator.RunServer(t.Context(), f.servers[victim].URL[len("http://"):])
	if err != nil {
		t.Error(err)
		return
	}
	f.servers[victim] = server
}

// people creates users through both servers.
func (f *fleet) people(t *testing.T, count int) []string {
	t.Helper()
	ids := make([]string, count)
	work := make(chan int)
	var wait sync.WaitGroup
	for worker := range 8 {
		wait.Go(func() {
			for i := range work {
				person := newPerson("member")
				err := patiently(t.Context(), recovery, func() error { _, err := f.clients[worker%2].Create(t.Context(), person); return err })
				if err != nil {
					t.Error(err)
				}
				ids[i] = person.ID
			}
		})
	}
	for i := range ids {
		work <- i
	}
	close(work)
	wait.Wait()
	if t.Failed() {
		t.FailNow()
	}
	return ids
}

// outgrow has one server carry groups over the limit while the other adds and removes single members that fit in.
func (f *fleet) outgrow(t *testing.T, ids []string) {
	const groups, singles = 6, 12
	inside, ids := ids[:490], ids[490:]
	for range groups {
		group := &okta.PushedGroup{Name: fmt.Sprintf("outgrowing %d", people.Add(1))}
		for _, id := range inside {
			group.Members = append(group.Members, okta.GroupMember{ID: id, UserName: "member"})
		}
		if _, err := f.clients[0].PushGroup(t.Context(), group); err != nil {
			t.Fatal(err)
		}
		want := setOf(inside)
		var mu sync.Mutex
		change := func(server int, operation okta.Object, joins, leaves []string) {
			err := patiently(t.Context(), recovery, func() error {
				answer, err := f.clients[server].Do(t.Context(), http.MethodPatch, "/Groups/"+group.ID, okta.PatchBody(operation))
				if err == nil {
					err = answer.ExpectStatus(http.StatusNoContent)
				}
				return err
			})
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			for _, id := range joins {
				want[id] = true
			}
			for _, id := range leaves {
				delete(want, id)
			}
		}
		add := func(ids ...string) okta.Object {
			return okta.ObjectOf("op", "add", "path", "members", "value", values(ids))
		}
		var wait sync.WaitGroup
		wait.Go(func() {
			for i := range singles {
				if i%2 == 0 {
					change(1, add(ids[i]), ids[i:i+1], nil)
				} else {
					change(1, okta.ObjectOf("op", "remove", "path", "members["+okta.Equals("value", inside[i])+"]"), nil, inside[i:i+1])
				}
			}
		})
		wait.Go(func() { change(0, add(ids[singles:singles+30]...), ids[singles:singles+30], nil) })
		wait.Wait()
		for number, server := range f.clients {
			answer, err := server.Do(t.Context(), http.MethodGet, "/Groups/"+group.ID, nil)
			if err != nil {
				t.Fatal(err)
			}
			if got := setOf(answer.Members()); !maps.Equal(got, want) {
				t.Errorf("server %d has %d members of a group, %d changes acknowledged make %d", number, len(got), singles+1, len(want))
			}
		}
	}
}
