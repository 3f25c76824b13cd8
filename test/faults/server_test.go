package faults_test

import (
	"context"
	"sync"
	"testing"
	"time"

	okta "github.com/scim-operator/scim-operator/test/okta/client"
	"github.com/scim-operator/scim-operator/test/okta/harness"
)

const (
	serverKills = 16
	creators    = 8
)

// creations is what came of a burst of creates that a kill ended.
type creations struct {
	mu                       sync.Mutex
	acknowledged, unanswered []*okta.Assignment
	problems                 []error
}

// The server writes the User, then its claim. It is killed at random moments while it creates users, so that some lie
// between the two writes. Whatever was answered is there; whatever was not can be provisioned again.
func TestServerKilledWhileCreating(t *testing.T) {
	random := dice(t)
	server, err := operator.RunServer(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	app := newApp(t, server, 2*time.Second)
	address := server.URL[len("http://"):]
	var acknowledged []*okta.Assignment
	again := 0
	for range serverKills {
		scim := operator.Client(server, "/scim/v2", app, okta.AppWizard)
		burst := &creations{}
		var wait sync.WaitGroup
		for range creators {
			wait.Go(func() { burst.create(t.Context(), scim) })
		}
		pause(t.Context(), between(random, 20*time.Millisecond, 400*time.Millisecond))
		if err := server.Kill(); err != nil {
			t.Fatal(err)
		}
		wait.Wait()
		for _, problem := range burst.problems {
			t.Errorf("before the kill: %v", problem)
		}
		if server, err = operator.RunServer(t.Context(), address); err != nil {
			t.Fatal(err)
		}
		findEach(t, scim, burst.acknowledged)
		for _, person := range burst.unanswered {
			if err := patiently(t.Context(), recovery, func() error { _, err := scim.AssignUser(t.Context(), person); return err }); err != nil {
				t.Errorf("the creation of %s was cut off, and it cannot be provisioned again: %v", person.Profile.UserName, err)
			}
		}
		acknowledged = append(append(acknowledged, burst.acknowledged...), burst.unanswered...)
		again += len(burst.unanswered)
		if t.Failed() {
			break
		}
	}
	harness.StopAtEnd(t, server)
	findEach(t, operator.Client(server, "/scim/v2", app, okta.AppWizard), acknowledged)
	t.Logf("%d kills: %d creates acknowledged, %d cut off and done again, %d objects left between the writes",
		serverKills, len(acknowledged)-again, again, len(leftovers(t, app)))
	if again == 0 {
		t.Error("no create was cut off: the test has tested nothing")
	}
	for _, person := range []*okta.Assignment{acknowledged[0], acknowledged[len(acknowledged)-1]} {
		operator.AccessSoon(t, app.Subject(person.Profile.UserName), harness.Everywhere(harness.Viewer))
	}
}

// create makes people until the server is gone.
func (c *creations) create(ctx context.Context, scim *okta.Client) {
	for ctx.Err() == nil {
		person := newPerson("created")
		_, err := scim.Create(ctx, person)
		c.mu.Lock()
		switch {
		case err == nil:
			c.acknowledged = append(c.acknowledged, person)
		case answered(err):
			c.problems = append(c.problems, err)
		default:
			c.unanswered = append(c.unanswered, person)
		}
		c.mu.Unlock()
		if err != nil {
			return
		}
	}
}
