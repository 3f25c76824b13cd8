package faults_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	okta "github.com/scim-operator/scim-operator/test/okta/client"
	"github.com/scim-operator/scim-operator/test/okta/harness"
)

const (
	controllerKills = 10
	togglers        = 4
	toggledEach     = 3
)

// The controller is killed at random moments while people come, leave and change their role, so that some moments lie within
// a grant and within a revocation. After the last start each person has what the last answer said, leavers nothing.
func TestControllerKilledWhileGranting(t *testing.T) {
	random := dice(t)
	app := newApp(t, operator.Server, 200*time.Millisecond)
	scim := operator.Client(operator.Server, "/scim/v2", app, okta.Template)

	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var wait sync.WaitGroup
	results := make([]map[string]harness.Access, togglers)
	problems := make([]error, togglers)
	var changes atomic.Int64
	for i := range togglers {
		seed := random.Uint64()
		wait.Go(func() { results[i], problems[i] = toggle(ctx, t.Context(), scim, app, seed, &changes) })
	}
	for range controllerKills {
		pause(t.Context(), between(random, 50*time.Millisecond, 700*time.Millisecond))
		restartController(t)
	}
	stop()
	wait.Wait()
	if err := errors.Join(problems...); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d kills, %d changes acknowledged meanwhile", controllerKills, changes.Load())
	// Once more without any change: what a dead controller has missed, its successor finds by itself.
	restartController(t)
	want := map[string]harness.Access{}
	for _, result := range results {
		maps.Copy(want, result)
	}
	everybodyHas(t, want)
}

// While access is being taken away a create waits, for half a second at most: also where no controller runs to take it away.
func TestCreatesYieldToDeactivations(t *testing.T) {
	const confirm, yield = 15 * time.Second, 500 * time.Millisecond
	app := newApp(t, operator.Server, confirm)
	scim := operator.Client(operator.Server, "/scim/v2", app, okta.Template)
	leaver, newcomer := newPerson("leaver"), newPerson("newcomer")
	if _, err := scim.AssignUser(t.Context(), leaver); err != nil {
		t.Fatal(err)
	}
	if err := operator.Controller.Kill(); err != nil {
		t.Fatal(err)
	}
	defer startController(t)

	left := make(chan error, 1)
	go func() {
		_, err := scim.Deactivate(t.Context(), leaver)
		left <- err
	}()
	harness.Eventually(t, recovery, "the deactivation", func(ctx context.Context) error {
		answer, err := scim.Do(ctx, http.MethodGet, "/Users/"+leaver.ID, nil)
		if err == nil && answer.At("active") != false {
			err = errors.New("the person is active")
		}
		return err
	})
	begun := time.Now()
	if _, err := scim.AssignUser(t.Context(), newcomer); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begun); took < yield {
		t.Errorf("the create was answered after %s", took)
	}
	select {
	case err := <-left:
		t.Errorf("the create took as long as the deactivation (%v)", err)
	default:
	}
	if err := <-left; err != nil {
		t.Error(err)
	}
}

func restartController(t *testing.T) {
	t.Helper()
	if err := operator.Controller.Kill(); err != nil {
		t.Fatal(err)
	}
	startController(t)
}

func startController(t *testing.T) {
	t.Helper()
	restarted, err := operator.RunController(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	operator.Controller = restarted
}

// toggle changes its own people one after the other until until ends, and returns what the last answers give them.
func toggle(until, ctx context.Context, scim *okta.Client, app harness.App, seed uint64, changes *atomic.Int64) (map[string]harness.Access, error) {
	want := map[string]harness.Access{}
	var own []*okta.Assignment
	for range toggledEach {
		person := newPerson("toggled")
		if _, err := scim.AssignUser(ctx, person); err != nil {
			return nil, err
		}
		own = append(own, person)
		want[app.Subject(person.Profile.UserName)] = harness.Everywhere(harness.Viewer)
	}
	for step := 0; until.Err() == nil; step++ {
		person := own[step%len(own)]
		subject := app.Subject(person.Profile.UserName)
		action, access := scim.Deactivate, harness.Nowhere()
		switch (seed>>(step%60) + uint64(step)) % 3 {
		case 0:
			role := []string{harness.Viewer, harness.Developer}[step%2]
			person.Profile.Custom = okta.ObjectOf("role", role)
			action, access = scim.PushProfile, harness.Everywhere(role)
		case 1:
			action, access = scim.Reactivate, harness.Everywhere(roleOf(person))
		}
		if err := patiently(ctx, recovery, func() error { _, err := action(ctx, person); return err }); err != nil {
			return nil, err
		}
		want[subject] = access
		changes.Add(1)
	}
	return want, nil
}

func roleOf(person *okta.Assignment) string {
	if role, _ := person.Profile.Custom.Get("role").(string); role != "" {
		return role
	}
	return harness.Viewer
}

// everybodyHas waits until every Kubernetes user has the access, and names the ones that do not.
func everybodyHas(t *testing.T, want map[string]harness.Access) {
	t.Helper()
	leavers := 0
	for _, access := range want {
		if len(access) == 0 {
			leavers++
		}
	}
	took := harness.Eventually(t, recovery, "the access of all users", func(ctx context.Context) error {
		var wrong []error
		for subject, access := range want {
			got, err := operator.AccessOf(ctx, subject)
			if err == nil && !maps.Equal(got, access) {
				err = fmt.Errorf("%s has %s, want %s", subject, got, access)
			}
			wrong = append(wrong, err)
		}
		return errors.Join(wrong...)
	})
	t.Logf("%d people, %d leavers among them, have what they should after %s", len(want), leavers, took.Round(time.Millisecond))
	for subject, access := range want {
		if bindings := operator.BindingsOf(t, subject); len(access) == 0 && len(bindings) > 0 {
			t.Errorf("%s has left and is named by %q", subject, bindings)
		}
	}
}
