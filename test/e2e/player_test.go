//go:build e2e

package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"github.com/scim-operator/scim-operator/test/e2e/ledger"
	okta "github.com/scim-operator/scim-operator/test/okta/client"
)

const (
	// castOf is how many people one player provisions.
	castOf = 10
	// patience bounds one action, repeated until it is acknowledged.
	patience = 4 * time.Minute
	// grantPatience bounds the wait for access that was earned.
	grantPatience = 2 * time.Minute
)

// people numbers the people of all players, so that no two share a name.
var people atomic.Int64

// player is Okta for some people and one group that no other player touches.
type player struct {
	*traffic
	scim   *okta.Client
	random *rand.Rand
	cast   []*actor
	group  okta.PushedGroup
}

// actor is one person as Okta knows them.
type actor struct {
	*okta.Assignment
	role   string
	active bool
}

// play acts until ctx ends. Every action that has begun is brought to its end: the ledger has no open entry afterwards.
func (p *player) play(ctx context.Context) {
	defer p.scim.Close()
	for ctx.Err() == nil {
		finish, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
		p.act(finish)
		cancel()
		pause(ctx, time.Duration(p.random.IntN(int(p.rest))))
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

func (p *player) act(ctx context.Context) {
	if len(p.cast) < castOf {
		p.create(ctx)
		return
	}
	person := p.cast[p.random.IntN(len(p.cast))]
	switch chance := p.random.IntN(100); {
	case chance < 10:
		p.changeGroup(ctx, person)
	case chance < 20:
		p.mistake(ctx, person)
	case !person.active:
		p.change(ctx, person, true, func() error { _, err := p.scim.Reactivate(ctx, person.Assignment); return err })
	case chance < 70:
		p.leave(ctx, person)
	default:
		person.role = []string{"viewer", "developer"}[p.random.IntN(2)]
		person.Profile.Custom = okta.ObjectOf("role", person.role)
		p.change(ctx, person, true, func() error { _, err := p.scim.PushProfile(ctx, person.Assignment); return err })
	}
}

// until repeats an action until it is acknowledged. An attempt that was not is counted as a failure.
func (p *player) until(ctx context.Context, action func() error) bool {
	for {
		err := action()
		if err == nil {
			return true
		}
		if ctx.Err() != nil {
			p.meter.fail("never acknowledged: %v", err)
			return false
		}
		p.meter.fail("%v", err)
		pause(ctx, 200*time.Millisecond)
	}
}

func (p *player) create(ctx context.Context) {
	userName := fmt.Sprintf("person.%d@e2e.example", people.Add(1))
	person := &actor{Assignment: okta.Assign(okta.NewProfile(userName)), role: "viewer"}
	person.Profile.Custom = okta.ObjectOf("role", person.role)
	p.cast = append(p.cast, person)
	p.change(ctx, person, true, func() error { _, err := p.scim.AssignUser(ctx, person.Assignment); return err })
}

// change plays an action that leaves a person with the given state, records it and reads it back on every replica.
func (p *player) change(ctx context.Context, person *actor, active bool, action func() error) {
	if !p.until(ctx, action) {
		return
	}
	person.active = active
	p.record(person)
	p.readBack(ctx, person)
}

func (p *player) record(person *actor) {
	p.e.ledger.Record(person.state())
}

func (a *actor) state() ledger.Person {
	return ledger.Person{ID: a.ID, UserName: a.Profile.UserName, ExternalID: a.Profile.ExternalID, Role: a.role, Active: a.active}
}

// leave deactivates a person with access, and asks the API server from the answer on until it says no.
func (p *player) leave(ctx context.Context, person *actor) {
	if !p.awaitAccess(ctx, person) {
		return
	}
	begun := time.Now()
	p.change(ctx, person, false, func() error {
		_, err := p.scim.Deactivate(ctx, person.Assignment)
		if err == nil {
			p.awaitDenial(ctx, person, begun)
		}
		return err
	})
}

func (p *player) awaitAccess(ctx context.Context, person *actor) bool {
	begun := time.Now()
	for {
		allowed, err := p.e.mayAct(ctx, person.Profile.UserName)
		if err == nil && allowed {
			return true
		}
		if err != nil {
			begun = time.Now() // without an API server it cannot be known
		}
		if time.Since(begun) > grantPatience || ctx.Err() != nil {
			p.meter.fail("%s is active and had no access for %s: %v", person.Profile.UserName, grantPatience, err)
			return false
		}
		pause(ctx, 50*time.Millisecond)
	}
}

// awaitDenial measures how long access outlived the answer. Time in which the API server answered no question does not count,
// also not that in which a question waits for its answer while it starts: it gave no access either.
func (p *player) awaitDenial(ctx context.Context, person *actor, begun time.Time) {
	answered := time.Now()
	for first, blind := true, false; ; first = false {
		asked := time.Now()
		allowed, err := p.e.mayAct(ctx, person.Profile.UserName)
		if err == nil && blind {
			answered, blind = time.Now(), false
		}
		switch {
		case err != nil:
			blind = true
		case !allowed && first:
			p.meter.deny(asked.Sub(begun), 0)
			return
		case !allowed:
			p.meter.deny(time.Since(begun), time.Since(answered))
			if lag := time.Since(answered); lag > accessBound {
				p.meter.fail("%s had access for %s after the answer to the deactivation", person.Profile.UserName, lag)
			}
			return
		}
		if ctx.Err() != nil {
			p.meter.fail("%s still had access %s after the answer to the deactivation", person.Profile.UserName, time.Since(answered))
			return
		}
		pause(ctx, 10*time.Millisecond)
	}
}

// readBack asks every ready replica for a person, by id and by name: none may show an older state.
func (p *player) readBack(ctx context.Context, person *actor) {
	want := person.state()
	for name, scim := range p.replicas.clients() {
		for _, target := range []string{"/Users/" + person.ID, "/Users" + okta.FilterQuery(okta.Equals("userName", person.Profile.UserName))} {
			answer, err := scim.Do(ctx, http.MethodGet, target, nil)
			var violation *okta.ViolationError
			if err != nil && !errors.As(err, &violation) || answer != nil && answer.Status == http.StatusTooManyRequests {
				continue // this replica is on its way out, or cannot reach the API server: it shows nothing
			}
			user := answer.Document
			if list, isList := answer.At("Resources").([]any); isList && len(list) == 1 {
				user = list[0]
			}
			if got := ledger.PersonIn(user); got != want {
				p.meter.fail("%s shows %+v after %+v was acknowledged: %s", name, got, want, answer)
			}
		}
	}
}

// changeGroup has a person join the player's group, or leave it.
func (p *player) changeGroup(ctx context.Context, person *actor) {
	member := okta.MemberOf(person.Assignment)
	var err error
	if p.group.ID == "" {
		p.group.Members = []okta.GroupMember{member}
		p.until(ctx, func() error { _, err = p.scim.PushGroup(ctx, &p.group); return err })
	} else {
		var leave, join []okta.GroupMember
		if slices.Contains(p.group.Members, member) {
			leave = []okta.GroupMember{member}
		} else {
			join = []okta.GroupMember{member}
		}
		before := slices.Clone(p.group.Members)
		p.until(ctx, func() error {
			p.group.Members = before
			_, err = p.scim.ChangeMembers(ctx, &p.group, leave, join)
			return err
		})
	}
	if err != nil {
		return
	}
	ids := make([]string, len(p.group.Members))
	for i, member := range p.group.Members {
		ids[i] = member.ID
	}
	p.e.ledger.RecordGroup(ledger.Group{ID: p.group.ID, Name: p.group.Name, Members: ids})
}

// mistake sends what must be refused whatever goes on: a userName that is taken, an id that does not exist.
func (p *player) mistake(ctx context.Context, person *actor) {
	p.until(ctx, func() error {
		answer, err := p.scim.Do(ctx, http.MethodGet, "/Users/nobody-aaaaaaaaaa", nil)
		if err == nil {
			err = answer.ExpectError(http.StatusNotFound, "")
		}
		return err
	})
	if !person.active {
		return // the same POST restores a leaver
	}
	profile := person.Profile
	profile.ExternalID = "another-" + profile.ExternalID
	p.until(ctx, func() error {
		answer, err := p.scim.Do(ctx, http.MethodPost, "/Users", profile.CreateBody("").Encode())
		if err == nil {
			err = answer.ExpectError(http.StatusConflict, "uniqueness")
		}
		return err
	})
}
