package main

import (
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

const (
	benchmarkControllerMemory = "controller-memory"
	// controllerMemoryTarget is the most that the controller may hold, in MiB, at 100,000 users.
	controllerMemoryTarget = 500
	// bindTimeout bounds how long a controller may take, after its start, to bind all users.
	bindTimeout = 15 * time.Minute
)

// measureControllerMemory starts a controller on a directory that is there already, without any binding: it reads, evaluates
// and binds all users.
func (s *suite) measureControllerMemory(ctx context.Context, e *environment) error {
	t := &tenant{app: e.app.Name, scim: e.scim, newPeople: s.newPeople}
	if err := s.fillAlone(ctx, e, t, kinds()); err != nil {
		return err
	}
	if err := s.measureStartFloor(ctx, e, len(t.members)); err != nil {
		return err
	}
	s.progress.say("starting a controller on %d users", len(t.members))
	wanted := 0
	for i := range t.members {
		wanted += len(t.members[i].rights())
	}
	begun := time.Now()
	if err := e.startController(ctx); err != nil {
		return err
	}
	ready := figure{
		name: benchmarkControllerMemory, title: "start of a controller: ready after", n: len(t.members),
		value: inMilliseconds(time.Since(begun)), unit: milliseconds,
	}
	limit := readyTarget(len(t.members))
	ready.target, ready.verdict = fmt.Sprintf("<= %s", limit), atMost(ready.value, inMilliseconds(limit))
	s.report.add(ready)
	if err := e.waitBound(ctx, wanted); err != nil {
		return err
	}
	bound := time.Since(begun)
	s.report.add(figure{
		name: benchmarkControllerMemory, title: fmt.Sprintf("start of a controller to the last of %d grants", wanted), n: len(t.members),
		value: float64(len(t.members)) / bound.Seconds(), unit: perSecond,
	})
	resident, peak, ok := memoryOf(e.controller.Pid())
	if !ok {
		return nil
	}
	for _, f := range []figure{
		{title: "memory of the controller, all users bound", value: float64(resident) / (1 << 20)},
		{title: "largest memory of the controller", value: float64(peak) / (1 << 20)},
	} {
		f.name, f.n, f.unit = benchmarkControllerMemory, len(t.members), mebibytes
		f.target, f.verdict = fmt.Sprintf("< %d MiB", controllerMemoryTarget), atMost(f.value, controllerMemoryTarget)
		s.report.add(f)
	}
	return nil
}

// readyTarget is the longest that a controller's start may take with so many users.
func readyTarget(users int) time.Duration {
	if users <= 30_000 {
		return 5 * time.Second
	}
	return 15 * time.Second
}

// waitBound returns when AppRoleBindings hold so many people.
func (e *environment) waitBound(ctx context.Context, wanted int) error {
	bound := 0
	err := wait.PollUntilContextTimeout(ctx, 2*time.Second, bindTimeout, true, func(ctx context.Context) (bool, error) {
		var list v1alpha1.AppRoleBindingList
		if err := e.admin.List(ctx, &list, client.InNamespace(e.app.Namespace)); err != nil {
			return false, err
		}
		bound = 0
		for i := range list.Items {
			bound += len(list.Items[i].Spec.Subjects)
		}
		e.suite.progress.sayOften("%d of %d grants are in AppRoleBindings", bound, wanted)
		return bound >= wanted, nil
	})
	if err != nil {
		return fmt.Errorf("%d of %d grants are in AppRoleBindings: %w", bound, wanted, err)
	}
	return nil
}
