package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// leaversFloor is a leaver's calls without anything that decides them, from clients with the same two ServiceAccounts: the User is read
// and written, its subject is taken out of each RoleBinding that names it, which is read after that, and the status is written. One
// write of a RoleBinding takes out all that wait for it. AppRoleBindings and Events are left out, and there are no watchers but the API
// server's own.
type leaversFloor struct {
	*costs
	controller client.Client
	leavers    []*member
	// bindings are the RoleBindings that name each leaver.
	bindings map[*member][]*contestedBinding
}

// contestedBinding is a RoleBinding that several leavers are taken out of.
type contestedBinding struct {
	mutex   sync.Mutex
	object  *rbacv1.RoleBinding
	waiting sync.Map // subjects that are to go
}

// measureFloor stops the operator's processes, which would put right what it writes.
func (c *costs) measureFloor(ctx context.Context) error {
	err := errors.Join(c.server.Stop(), c.stopController())
	if c.server = nil; err != nil {
		return err
	}
	f := &leaversFloor{costs: c, leavers: c.pop.leavers(c.plan.costs / 4)}
	if err := f.prepare(ctx); err != nil {
		return err
	}
	before := c.work()
	left := drive(ctx, len(f.leavers), fillConcurrency, func(ctx context.Context, i int) error { return f.leave(ctx, f.leavers[i]) })
	if err := errors.Join(left.first, ctx.Err()); err != nil {
		return err
	}
	c.report.add(figure{
		name: c.name, title: "the writes of a leaver alone, by bare clients, without controller and server", n: len(f.leavers), concurrency: fillConcurrency,
		value: left.rate(), unit: perSecond, p50: percentile(left.latencies, 50), p99: percentile(left.latencies, 99),
	})
	c.reportProcessors("that bare clients deactivated, without controller and server", len(f.leavers), before, c.work())
	return nil
}

func (f *leaversFloor) prepare(ctx context.Context) error {
	config, err := clientcmd.BuildConfigFromFlags("", f.kubeconfig("controller"))
	if err != nil {
		return err
	}
	config.QPS, config.Timeout = -1, requestTimeout
	if f.controller, err = client.New(config, client.Options{Scheme: f.scheme}); err != nil {
		return err
	}
	var list rbacv1.RoleBindingList
	if err := f.controller.List(ctx, &list, client.HasLabels{v1alpha1.LabelApp}); err != nil {
		return err
	}
	named := map[string][]*contestedBinding{}
	for i := range list.Items {
		binding := &contestedBinding{object: &list.Items[i]}
		for _, subject := range binding.object.Subjects {
			named[subject.Name] = append(named[subject.Name], binding)
		}
	}
	f.bindings = map[*member][]*contestedBinding{}
	for _, leaver := range f.leavers {
		f.bindings[leaver] = named[leaver.subject()]
		if f.kind == "roles" && len(f.bindings[leaver]) == 0 {
			return fmt.Errorf("no RoleBinding names %s", leaver.subject())
		}
	}
	return nil
}

func (f *leaversFloor) leave(ctx context.Context, leaver *member) error {
	user := &v1alpha1.User{}
	if err := f.bare.Get(ctx, f.key(leaver.id), user); err != nil {
		return err
	}
	user.Spec.Active = false
	if err := f.bare.Update(ctx, user); err != nil {
		return err
	}
	for _, binding := range f.bindings[leaver] {
		if err := f.takeOut(ctx, binding, leaver.subject()); err != nil {
			return err
		}
	}
	user.Status.ObservedGeneration, user.Status.Roles, user.Status.RoleNames = user.Generation, nil, ""
	user.Status.InactiveSince = &metav1.Time{Time: time.Now()}
	meta.SetStatusCondition(&user.Status.Conditions, metav1.Condition{
		Type: v1alpha1.ConditionAccessRevoked, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonRevoked, ObservedGeneration: user.Generation,
	})
	return f.controller.Status().Update(ctx, user)
}

// takeOut writes a RoleBinding without all subjects that wait for it, and reads it.
func (f *leaversFloor) takeOut(ctx context.Context, binding *contestedBinding, subject string) error {
	binding.waiting.Store(subject, true)
	binding.mutex.Lock()
	defer binding.mutex.Unlock()
	if _, waits := binding.waiting.Load(subject); !waits {
		return nil // an earlier write has done it
	}
	taken := map[string]bool{}
	binding.waiting.Range(func(name, _ any) bool {
		taken[name.(string)] = true
		return true
	})
	binding.object.Subjects = slices.DeleteFunc(binding.object.Subjects, func(s rbacv1.Subject) bool { return taken[s.Name] })
	if err := f.controller.Update(ctx, binding.object); err != nil {
		return err
	}
	if err := f.controller.Get(ctx, client.ObjectKeyFromObject(binding.object), binding.object); err != nil {
		return err
	}
	for name := range taken {
		binding.waiting.Delete(name)
	}
	return nil
}
