package controllers_test

import (
	"fmt"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// reconciles counts what a controller of this process has reconciled.
func reconciles(t *testing.T, controller string) (count int) {
	t.Helper()
	families, err := metrics.Registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() != "controller_runtime_reconcile_total" {
			continue
		}
		for _, metric := range family.GetMetric() {
			for _, label := range metric.GetLabel() {
				if label.GetValue() == controller {
					count += int(metric.GetCounter().GetValue())
				}
			}
		}
	}
	return count
}

// An edit that says nothing of access evaluates no user anew, and the status speaks of the new generation all the same.
func TestEditThatEvaluatesNobody(t *testing.T) {
	const people = 40
	w := newWorld(t, nil)
	users := w.provisionMany(people, "Sales")
	for _, user := range users {
		w.eventuallyGranted(user)
	}
	settled := func() {
		t.Helper()
		w.eventually(func() string {
			if err := env.Client.Get(w.ctx, client.ObjectKeyFromObject(w.app), w.app); err != nil {
				return err.Error()
			}
			s := w.app.Status
			if s.ObservedGeneration != w.app.Generation || s.Evaluation == nil || s.Evaluation.Generation != w.app.Generation ||
				s.Evaluation.Done != people || meta.IsStatusConditionTrue(s.Conditions, v1alpha1.ConditionReconciling) {
				return fmt.Sprintf("generation %d, status %+v", w.app.Generation, s)
			}
			return ""
		})
	}
	// quiet waits until what came before is over: events of statuses that were written follow on a busy machine.
	quiet := func() (count int) {
		t.Helper()
		last := time.Now()
		count = reconciles(t, "user")
		w.eventually(func() string {
			if now := reconciles(t, "user"); now != count {
				count, last = now, time.Now()
			}
			return unless(time.Since(last) > time.Second, "users are reconciled")
		})
		return count
	}
	settled()
	for name, change := range map[string]func(*v1alpha1.AppSpec){
		"a token":               func(s *v1alpha1.AppSpec) { s.Tokens = []v1alpha1.AcceptedToken{{Name: "another"}} },
		"a URL":                 func(s *v1alpha1.AppSpec) { s.ExternalURL = "https://scim.example.com" },
		"its display name":      func(s *v1alpha1.AppSpec) { s.DisplayName = "Demo" },
		"a role's display name": func(s *v1alpha1.AppSpec) { s.Roles[0].DisplayName = "Viewer" },
	} {
		before := quiet()
		update(w, w.app, func(a *v1alpha1.App) { change(&a.Spec) })
		settled()
		if count := reconciles(t, "user") - before; count > people/4 {
			t.Errorf("%s: %d reconciles of %d users", name, count, people)
		}
	}
	before := quiet()
	update(w, w.app, func(a *v1alpha1.App) { a.Spec.RoleAssignment.Default = nil })
	settled()
	w.eventually(func() string { // a reconcile is counted when it ends, after it has evaluated
		if count := reconciles(t, "user") - before; count < people {
			return fmt.Sprintf("an edit that takes a role: %d reconciles of %d users", count, people)
		}
		return ""
	})
}
