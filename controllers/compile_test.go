package controllers_test

import (
	"errors"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/controllers/app"
	"github.com/scim-operator/scim-operator/internal/access"
	"github.com/scim-operator/scim-operator/internal/fair"
)

// compilation is an App with an expression, and one slot that another App holds.
type compilation struct {
	*world
	policies access.Cache
	turns    *fair.Slots
	release  func()
}

func newCompilation(t *testing.T) *compilation {
	t.Helper()
	c := &compilation{
		world: newStoppedWorld(t, func(spec *v1alpha1.AppSpec) { spec.Roles[1].When = `user.active` }),
		turns: fair.NewSlots(1, 0),
	}
	c.release = c.turns.Acquire(c.ctx, fair.Lane{Namespace: "another", Name: "app"}, nil)
	return c
}

// compileAtOnce compiles the App as it is now, if it is its turn.
func (c *compilation) compileAtOnce() (*access.Policy, error) {
	c.Helper()
	current := &v1alpha1.App{}
	if err := env.Client.Get(c.ctx, client.ObjectKeyFromObject(c.app), current); err != nil {
		c.Fatal(err)
	}
	policy, _, err := app.CompileInTurn(c.ctx, env.Client, &c.policies, c.turns, current, closed())
	return policy, err
}

// closed is what a caller gives up by that does not wait.
func closed() <-chan struct{} {
	channel := make(chan struct{})
	close(channel)
	return channel
}

// Expressions are compiled in the App's turn; one that is not compiled yet waits for it, or is left to another time.
func TestExpressionsAreCompiledInTurn(t *testing.T) {
	c := newCompilation(t)
	if policy, err := c.compileAtOnce(); !errors.Is(err, access.ErrInterrupted) || policy != nil {
		t.Errorf("compiled out of turn: %v, error %v", policy, err)
	}
	if c.policies.IsCompiled(c.app) {
		t.Error("what was left to another time is compiled")
	}
	compiled := make(chan error, 1)
	go func() {
		policy, _, err := app.CompileInTurn(c.ctx, env.Client, &c.policies, c.turns, c.app.DeepCopy(), nil)
		if err == nil && policy == nil {
			err = errors.New("there is no policy")
		}
		compiled <- err
	}()
	select {
	case err := <-compiled:
		t.Fatalf("compiled while another App had the turn: %v", err)
	case <-time.After(100 * time.Millisecond): // for what must not happen
	}
	c.release()
	if err := <-compiled; err != nil {
		t.Error(err)
	}

	// What is compiled needs no turn.
	release := c.turns.Acquire(c.ctx, fair.Lane{Namespace: "another", Name: "app"}, nil)
	defer release()
	if policy, err := c.compileAtOnce(); err != nil || policy == nil {
		t.Errorf("what was compiled waits for a turn: %v", err)
	}
	// Neither does an App without expressions.
	update(c.world, c.app, func(a *v1alpha1.App) { a.Spec.Roles[1].When = "" })
	if policy, err := c.compileAtOnce(); err != nil || policy == nil {
		t.Errorf("an App without expressions waits for a turn: %v", err)
	}
}

// An App that was edited, or deleted, before its turn came is not compiled as it was.
func TestAnEditedAppIsNotCompiledAsItWas(t *testing.T) {
	for name, change := range map[string]func(*compilation){
		"edited":  func(c *compilation) { update(c.world, c.app, func(a *v1alpha1.App) { a.Spec.Roles[1].When = `false` }) },
		"deleted": func(c *compilation) { c.delete(c.app) },
	} {
		t.Run(name, func(t *testing.T) {
			c := newCompilation(t)
			before := c.app.DeepCopy()
			change(c)
			c.release()
			policy, _, err := app.CompileInTurn(c.ctx, env.Client, &c.policies, c.turns, before, nil)
			if !errors.Is(err, access.ErrInterrupted) || policy != nil {
				t.Errorf("compiled %v, error %v", policy, err)
			}
			if c.policies.IsCompiled(before) {
				t.Error("the App was compiled as it was")
			}
			if release := c.turns.Acquire(c.ctx, fair.Lane{Namespace: "another", Name: "app"}, closed()); release == nil {
				t.Error("the turn was not given back")
			}
		})
	}
}
