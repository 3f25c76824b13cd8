package faults_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	okta "github.com/scim-operator/scim-operator/test/okta/client"
)

const (
	// crowdSize is just below what a group holds inline, so that a few more people carry it over.
	crowdSize = 485
	// castOf is how many people each worker provisions.
	castOf = 12
	// limited begins the names of people that must never have the strongest role: nothing that this test sends earns it.
	limited = "limited"
)

// everything that must have happened at least once, or the test has tested less than it claims.
var everything = []string{
	"leader killed", "person created", "person created again", "profile pushed", "person deactivated", "person reactivated",
	"person renamed", "person deleted", "group pushed", "group renamed", "group emptied", "group deleted", "members changed",
	"group outgrew its object", "App edited", "App broken", "App deleted", "namespace created", "namespace deleted",
	"namespace relabelled", "binding tampered with", "AppRoleBinding tampered with", "person suspended", "person released",
	"person edited by hand", "person deleted by hand", "usurper created", "App deleted with its people", "leader paused",
	"removals held", "removals released",
}

// actor is one person, provisioned by one worker.
type actor struct {
	*okta.Assignment
	// first begins every name that the person ever has.
	first                       string
	provisioned, active, before bool
}

func newActor(random *rand.Rand) *actor {
	first := limited
	if random.IntN(2) == 0 {
		first = "free"
	}
	a := &actor{Assignment: newPerson(first), first: first}
	// Address and external id differ from the userName: any of them may stand for the person in Kubernetes. Some people share
	// an address, and some have no external id.
	a.Profile.ExternalID = "ext." + a.Profile.Email
	a.Profile.Email = "mail." + a.Profile.Email
	if random.IntN(4) == 0 {
		a.Profile.Email = fmt.Sprintf("mail.%s.shared.%d@example.com", first, random.IntN(3))
	}
	if random.IntN(4) == 0 {
		a.Profile.ExternalID = ""
	}
	return a
}

// rename gives the person another userName, and sometimes another external id.
func (a *actor) rename(random *rand.Rand) {
	a.Profile.UserName = fmt.Sprintf("%s.as.%d@example.com", a.first, people.Add(1))
	if a.Profile.ExternalID != "" && random.IntN(3) == 0 {
		a.Profile.ExternalID = "ext." + a.Profile.UserName
	}
}

// attributes gives the person others, from which roles and scopes follow. People of limited means never get what would
// earn the strongest role.
func (a *actor) attributes(random *rand.Rand) {
	pick := func(values ...any) any { return values[random.IntN(len(values))] }
	role := pick("", "reader", "writer", "auditor", "deployer", "nonsense")
	roles := pick([]any{}, []any{okta.ObjectOf("value", "writer")}, []any{okta.ObjectOf("value", "reader"), okta.ObjectOf("value", "auditor")})
	department := pick("Sales", "Support")
	if a.first != limited {
		role = pick(role, "owner")
		department = pick(department, "Platform")
	}
	a.Profile.Custom = okta.ObjectOf(
		"role", role,
		"roles", roles,
		"regions", pick("", "us1", "us1, emea2", "emea2,apac,us1", "mars", " apac ", "everywhere", "us1,everywhere"),
		"title", pick("Lead engineer", "Engineer", ""),
		okta.SchemaEnterprise, okta.ObjectOf("department", department),
	)
}

// gather provisions the members of groups.
func (c *chaos) gather() {
	c.crowd = c.people(c.apps[0], limited, crowdSize)
	c.strays = c.people(c.apps[0], limited, 40)
	c.free = c.people(c.apps[0], "free", 8)
	c.guarded = c.people(c.apps[guarded], limited, guardedCrowd)
	c.makeGroups()
}

// people provisions people of an App.
func (c *chaos) people(app *chaosApp, first string, count int) []okta.GroupMember {
	c.t.Helper()
	members := make([]okta.GroupMember, count)
	work := make(chan int)
	var wait sync.WaitGroup
	begun := time.Now()
	for worker := range 8 {
		wait.Go(func() {
			for i := range work {
				person := newPerson(first)
				if err := c.patiently(func() error {
					_, err := app.clients[worker%2].Create(c.t.Context(), person)
					return err
				}); err != nil {
					c.t.Error(err)
				}
				members[i] = okta.MemberOf(person)
			}
		})
	}
	for i := range members {
		work <- i
	}
	close(work)
	wait.Wait()
	if c.t.Failed() {
		c.t.FailNow()
	}
	c.t.Logf("%d people provisioned in %s", len(members), time.Since(begun).Round(time.Millisecond))
	return members
}

// provision plays Okta for some people of an App until ctx ends.
func (c *chaos) provision(ctx context.Context, random *rand.Rand, app *chaosApp) {
	cast := make([]*actor, castOf)
	for i := range cast {
		cast[i] = newActor(random)
	}
	for ctx.Err() == nil {
		person, scim := cast[random.IntN(len(cast))], app.clients[random.IntN(2)]
		app.open.RLock()
		err := c.act(random, app, person, scim)
		app.open.RUnlock()
		if err != nil {
			c.t.Error(err)
			return
		}
		pause(ctx, between(random, 0, 60*time.Millisecond))
	}
}

// act does one thing to one person.
func (c *chaos) act(random *rand.Rand, app *chaosApp, person *actor, scim *okta.Client) error {
	ctx := c.t.Context()
	if !person.provisioned {
		person.attributes(random)
		there, err := c.step(app, person, func() (okta.Conversation, error) { return scim.AssignUser(ctx, person.Assignment) })
		if exchange := refusal(err); exchange != nil {
			switch exchange.Status {
			case http.StatusConflict:
				c.count("name not free yet")
				return nil
			case http.StatusBadRequest: // a scope that is missing; only a POST is refused for it
				c.count("creation refused")
				return nil
			}
		}
		if err == nil && there {
			person.provisioned, person.active = true, true
			c.count(map[bool]string{false: "person created", true: "person created again"}[person.before])
			person.before = true
		}
		return err
	}
	var what string
	var action func() (okta.Conversation, error)
	chance := random.IntN(100)
	switch {
	case !person.active && chance < 60:
		what, action = "person reactivated", func() (okta.Conversation, error) { return scim.AssignUser(ctx, person.Assignment) }
	case person.active && chance < 45:
		person.attributes(random)
		what, action = "profile pushed", func() (okta.Conversation, error) { return scim.PushProfile(ctx, person.Assignment) }
	case person.active && chance < 55:
		person.rename(random)
		what, action = "person renamed", func() (okta.Conversation, error) { return scim.PushProfile(ctx, person.Assignment) }
	case chance < 90:
		what, action = "person deactivated", func() (okta.Conversation, error) { return scim.Deactivate(ctx, person.Assignment) }
	default:
		what, action = "person deleted", func() (okta.Conversation, error) {
			answer, err := scim.Do(ctx, http.MethodDelete, "/Users/"+person.ID, nil)
			if err == nil {
				err = answer.ExpectStatus(http.StatusNoContent)
			}
			return nil, err
		}
	}
	if there, err := c.step(app, person, action); err != nil || !there {
		return err
	}
	c.count(what)
	switch what {
	case "person reactivated":
		person.active = true
	case "person deactivated":
		person.active = false
	case "person deleted":
		person.provisioned = false
	}
	return nil
}

// step repeats an action while the server is busy, and says whether the person was there: the User may have been deleted by
// hand.
func (c *chaos) step(app *chaosApp, person *actor, action func() (okta.Conversation, error)) (there bool, err error) {
	err = c.patiently(func() error { _, err := action(); return err })
	if exchange := refusal(err); exchange != nil {
		switch {
		case exchange.Status == http.StatusNotFound:
			person.provisioned = false
			return false, nil
		case exchange.Status == http.StatusUnauthorized && (app.shape.kind == small || app.shape.kind == passing):
			c.count("token not accepted again yet") // its App was deleted and is back; the token's status lags behind
			return false, nil
		}
	}
	return err == nil, err
}

// patiently repeats what Okta would. It may take as long as everything else does: while the leader is paused, and each of
// its successors killed, a user that is being deleted keeps its name.
func (c *chaos) patiently(action func() error) error {
	begun := time.Now()
	err := patiently(c.t.Context(), settling, action)
	waited := time.Since(begun)
	c.mu.Lock()
	c.longest = max(c.longest, waited)
	c.mu.Unlock()
	if waited > recovery {
		c.note("a client waited %s for the server", waited.Round(time.Millisecond))
	}
	return err
}

// refusal is the answer that an error is about, or nil.
func refusal(err error) *okta.Exchange {
	var violation *okta.ViolationError
	if errors.As(err, &violation) {
		return violation.Exchange
	}
	return nil
}
