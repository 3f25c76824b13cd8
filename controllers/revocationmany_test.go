package controllers_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// each runs a function for so many numbers, eight at a time.
func (k *cluster) each(count int, do func(ctx context.Context, i int) error) {
	k.Helper()
	running, ctx := errgroup.WithContext(k.ctx)
	running.SetLimit(8)
	for i := range count {
		running.Go(func() error { return do(ctx, i) })
	}
	if err := running.Wait(); err != nil {
		k.Fatal(err)
	}
}

// eventuallyAll waits until so many users of an App have a condition. It gives up once their number has not grown for the deadline.
func (d *directory) eventuallyAll(app *v1alpha1.App, count int, kind, reason string) {
	d.Helper()
	var most int
	for last := time.Now(); time.Since(last) < deadline; time.Sleep(200 * time.Millisecond) {
		var users v1alpha1.UserList
		if err := env.Client.List(d.ctx, &users, client.InNamespace(d.namespace)); err != nil {
			d.Fatal(err)
		}
		have := 0
		for i := range users.Items {
			condition := meta.FindStatusCondition(users.Items[i].Status.Conditions, kind)
			if users.Items[i].Spec.App == app.Name && condition != nil && condition.Status == metav1.ConditionTrue && (reason == "" || condition.Reason == reason) {
				have++
			}
		}
		if have >= count {
			return
		}
		if have > most {
			most, last = have, time.Now()
		}
	}
	d.Fatalf("%d of %d users of App %s have %s=True, and no more of them for %s", most, count, app.Name, kind, deadline)
}

// revocationMetric is a gauge of an App; -1 where there is none.
func (w lists) revocationMetric(name string, app *v1alpha1.App) float64 {
	w.Helper()
	families, err := metrics.Registry.Gather()
	if err != nil {
		w.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() != name {
			continue
		}
		for _, metric := range family.GetMetric() {
			labels := map[string]string{}
			for _, pair := range metric.GetLabel() {
				labels[pair.GetName()] = pair.GetValue()
			}
			if labels["namespace"] == app.Namespace && labels["app"] == app.Name {
				return metric.GetGauge().GetValue()
			}
		}
	}
	return -1
}

// 1,100 users of one App leave within a day: its list holds the last 1,000, its condition and its metric have the count, and
// another App's leaver stays on that App's list.
func TestRevocationListOf1100Leavers(t *testing.T) {
	const leavers = v1alpha1.MaxRevocations + 100
	w := newDenyingWorld(t, denying("mass:"))
	second := w.secondApp(denying("bystander:"))
	bystander := w.granted(second, "leaver")
	update(w, bystander, deactivate)
	w.eventuallyRevoked(bystander)

	users := make([]*v1alpha1.User, leavers)
	for i := range users {
		users[i] = w.newUser(fmt.Sprintf("leaver-%04d", i), "")
	}
	begun := time.Now()
	w.each(leavers, func(ctx context.Context, i int) error {
		if err := env.Client.Create(ctx, users[i]); err != nil {
			return err
		}
		return env.Client.Create(ctx, w.claimOf(users[i]))
	})
	w.eventuallyAll(w.app, leavers, v1alpha1.ConditionAccessGranted, "")
	t.Logf("%d users had access after %s", leavers, time.Since(begun).Round(time.Second))
	begun = time.Now()
	w.each(leavers, func(ctx context.Context, i int) error {
		return env.Client.Patch(ctx, users[i], client.RawPatch(types.MergePatchType, []byte(`{"spec":{"active":false}}`)))
	})
	w.eventuallyAll(w.app, leavers, v1alpha1.ConditionAccessRevoked, v1alpha1.ReasonRevoked)
	t.Logf("they had left after %s", time.Since(begun).Round(time.Second))

	told := w.eventuallyAppCondition(w.app, v1alpha1.ConditionRevocationsListed, metav1.ConditionFalse)
	if told.Reason != "ListFull" || !strings.HasPrefix(told.Message, "100 users that left") {
		t.Errorf("condition %+v", told)
	}
	for name, want := range map[string]float64{"scim_operator_revocations_omitted": leavers - v1alpha1.MaxRevocations, "scim_operator_revocations": v1alpha1.MaxRevocations} {
		if got := w.revocationMetric(name, w.app); got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	if got := w.revocationMetric("scim_operator_revocations_omitted", second); got != 0 {
		t.Errorf("the other App leaves out %v", got)
	}
	listed := w.listed()
	if len(listed) != v1alpha1.MaxRevocations+1 || !slices.Contains(listed, "bystander:leaver") {
		t.Errorf("%d names are listed, the other App's leaver among them: %t", len(listed), slices.Contains(listed, "bystander:leaver"))
	}
	w.eventuallyAppCondition(second, v1alpha1.ConditionRevocationsListed, metav1.ConditionTrue)
}
