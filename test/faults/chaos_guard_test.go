package faults_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/test/okta/harness"
	"github.com/scim-operator/scim-operator/test/oracle"
)

const (
	// mostRemovals is how many people of the guarded App may lose a role by groups or edits of the App before a release lets
	// the others go: the window is longer than the test.
	mostRemovals = 4
	// guardedCrowd is the number of its people without changes of their own.
	guardedCrowd = 20
)

// settleHeld waits until all people have what they earned, and beyond that only what the guard holds.
func (c *chaos) settleHeld() (held int) {
	c.t.Helper()
	took := harness.EventuallyEvery(c.t, 300*time.Millisecond, settling, "what follows from the objects, and what is held", func(ctx context.Context) error {
		cluster, err := oracle.Read(ctx, c.client, c.apps[0].Namespace)
		if err != nil {
			return err
		}
		differences, people, err := cluster.DifferencesWhileHeld(meanings)
		held = people
		if err == nil && len(differences) > 0 {
			err = errors.New(abridged(differences))
		}
		return err
	})
	c.t.Logf("access is as it should be after %s; %d people are held", took.Round(time.Millisecond), held)
	if held > 0 {
		c.count("removals held")
	}
	return held
}

// provoke grants the default role to all people of the guarded App, and takes it away again, so that most of them are held.
func (c *chaos) provoke() (held int) {
	app := c.apps[guarded]
	for _, without := range []bool{false, true} {
		app.shape.absent = map[string]bool{}
		app.shape.noDefaults = without
		c.reshape(c.t.Context(), app)
		held = c.settleHeld()
	}
	return held
}

// release frees all held people.
func (c *chaos) release() {
	app := c.apps[guarded]
	value := fmt.Sprintf("release-%d", people.Add(1))
	err := retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		object := &v1alpha1.App{}
		if err := c.client.Get(c.t.Context(), client.ObjectKey{Namespace: app.Namespace, Name: app.Name}, object); err != nil {
			return err
		}
		if object.Annotations == nil {
			object.Annotations = map[string]string{}
		}
		object.Annotations[v1alpha1.AnnotationReleaseRemovals] = value
		return c.client.Update(c.t.Context(), object)
	})
	if err != nil {
		c.t.Fatalf("releasing what is held: %v", err)
	}
	c.count("removals released")
}

// guardHistory holds the guard to its promise. Of the people without changes of their own, no more lose a role between two
// releases than it says. A held person stays held until a release.
type guardHistory struct {
	app   string
	crowd map[string]bool

	// released is the value of the last release that was done, and since when; asked is the last one asked for.
	asked, released string
	since           uint64
	// roles of each of the crowd by their last status, true for held ones, and since when a person is held.
	roles     map[string]map[holding]bool
	heldSince map[string]uint64
	losers    map[string]bool
	// bound tells which of the roles that a status listed, or that came after it, native bindings gave at that moment or
	// later. A status may list a role without any binding: the App was edited just before.
	bound map[string]map[holding]bool
	// of maps a subject to the person of the crowd that it stands for.
	of map[int]string
	// past is what happened to each of the crowd.
	past map[string][]string

	most, freed int
}

func newGuardHistory(c *chaos) guardHistory {
	g := guardHistory{
		app: c.apps[guarded].Name, crowd: map[string]bool{}, roles: map[string]map[holding]bool{},
		heldSince: map[string]uint64{}, losers: map[string]bool{}, bound: map[string]map[holding]bool{}, of: map[int]string{},
		past: map[string][]string{},
	}
	for _, member := range c.guarded {
		g.crowd[member.ID] = true
	}
	return g
}

func (g *guardHistory) playApp(v version) {
	if v.app.name != g.app {
		return
	}
	g.asked = v.app.asked
	if v.app.released != g.released {
		g.released, g.since = v.app.released, v.revision
		g.losers = map[string]bool{}
	}
}

// playUser takes a version of a User.
func (g *guardHistory) playUser(v version) {
	if v.user.app == g.app && g.crowd[v.user.id] {
		for _, subject := range v.user.subjects {
			g.of[subject] = v.user.id
		}
	}
}

// playBinding takes a version of a native binding.
func (g *guardHistory) playBinding(v version) {
	if v.binding.of.app != g.app {
		return
	}
	for _, subject := range v.binding.subjects {
		if id := g.of[subject]; id != "" && !v.deleted {
			if g.bound[id] == nil {
				g.bound[id] = map[holding]bool{}
			}
			if !g.bound[id][v.binding.of] {
				g.note(id, v.revision, "%v is bound to %d", v.binding.of, subject)
			}
			g.bound[id][v.binding.of] = true
		}
	}
}

func (g *guardHistory) note(id string, revision uint64, format string, arguments ...any) {
	g.past[id] = append(g.past[id], fmt.Sprintf("revision %d: ", revision)+fmt.Sprintf(format, arguments...))
}

// lately tells what happened to a person last.
func (g *guardHistory) lately(id string) string {
	past := g.past[id]
	return strings.Join(past[max(0, len(past)-10):], "; ")
}

// playStatus takes a status that was just written.
func (g *guardHistory) playStatus(v version, isBound func(holding) bool) (violations []string) {
	id := v.user.id
	if v.user.app != g.app || !g.crowd[id] {
		return nil
	}
	g.note(id, v.revision, "the status of %s says %v, frozen %t", v.user.status.KubernetesUsername, v.user.status.Roles, v.user.frozen)
	if v.user.frozen {
		return nil // it tells what was held before, which need not be all
	}
	before, now := g.roles[id], map[holding]bool{}
	isHeldNow := false
	for _, role := range v.user.status.Roles {
		now[holding{app: v.user.app, role: role.Role, scope: role.Scope}] = isHeld(role)
		isHeldNow = isHeldNow || isHeld(role)
	}
	g.roles[id] = now
	freed := false
	for role, wasHeld := range before {
		wasBound := g.bound[id][role]
		if _, stays := now[role]; stays || !wasBound {
			continue
		}
		switch {
		case !wasHeld:
			g.losers[id] = true
		case g.asked == g.released && g.since < g.heldSince[id]:
			violations = append(violations, fmt.Sprintf("revision %d: %s lost %v, which was held since revision %d, without a release: %s", v.revision, id, role, g.heldSince[id], g.lately(id)))
		default:
			freed = true
		}
	}
	if freed {
		g.freed++
	}
	g.bound[id] = map[holding]bool{}
	for role := range now {
		g.bound[id][role] = isBound(role)
	}
	if !isHeldNow {
		delete(g.heldSince, id)
	} else if g.heldSince[id] == 0 {
		g.heldSince[id] = v.revision
	}
	g.most = max(g.most, len(g.losers))
	if len(g.losers) > mostRemovals {
		violations = append(violations, fmt.Sprintf("revision %d: with %s, %d people lost a role since the release at revision %d; %d may: %s",
			v.revision, id, len(g.losers), g.since, mostRemovals, g.lately(id)))
	}
	return violations
}
