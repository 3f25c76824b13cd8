package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/hack/localoperator"
	"github.com/scim-operator/scim-operator/internal/token"
)

const (
	// convergeTarget is how long the last grant may take, in times of the import that it ends.
	convergeTarget = 1.2
	// leaversShare is what part of the people is there before the import, and may leave meanwhile.
	leaversShare = 20
)

// convergeRoles are the numbers of roles of the Apps that are imported into.
var convergeRoles = []int{15, 1}

func benchmarkConverge(roles int) string { return fmt.Sprintf("converge-%d", roles) }
func benchmarkRule(roles int) string     { return fmt.Sprintf("rule-%d", roles) }

func (p plan) convergeNames() []string {
	var names []string
	for _, roles := range convergeRoles {
		names = append(names, benchmarkLeave(roles), benchmarkRule(roles), benchmarkConverge(roles))
	}
	return append(names, benchmarkControllerMemory)
}

// measureConvergence looks, for each number of roles, at an App that is full, and imports a crowd at full speed into another
// one, while people of an earlier import leave.
func (s *suite) measureConvergence(ctx context.Context) error {
	for _, roles := range convergeRoles {
		for _, part := range []struct {
			name    string
			wanted  bool
			measure func(*convergence, context.Context) error
		}{
			{benchmarkLeave(roles), s.wantsAny(benchmarkLeave(roles), benchmarkRule(roles)), (*convergence).measureFull},
			{benchmarkConverge(roles), s.wants(benchmarkConverge(roles)), (*convergence).measure},
		} {
			if !part.wanted {
				continue
			}
			if err := s.within(ctx, part.name, func(ctx context.Context, e *environment) error {
				return part.measure(&convergence{suite: s, environment: e, roles: roles}, ctx)
			}); err != nil {
				return fmt.Errorf("%s: %w", part.name, err)
			}
		}
	}
	if !s.wants(benchmarkControllerMemory) {
		return nil
	}
	return s.within(ctx, benchmarkControllerMemory, s.measureControllerMemory)
}

// convergence is one import and what the controller makes of it.
type convergence struct {
	*suite
	*environment
	roles   int
	watched *holders
	population
	// bare are people that leave by bare writes; bareTried of them were looked at, in turns of their RoleBindings.
	bare      []bareLeaver
	bareTried int
}

func (c *convergence) roleName(i int) string { return fmt.Sprintf("role-%02d", i%c.roles) }

func (c *convergence) measure(ctx context.Context) (err error) {
	if err := c.makeApp(ctx); err != nil {
		return err
	}
	if c.watched, err = watchHolders(ctx, c.environment); err != nil {
		return err
	}
	defer c.watched.stop()
	return c.importEverybody(ctx)
}

// makeApp makes an App with so many roles, each of which grants a ClusterRole of its own, and a token for it.
func (c *convergence) makeApp(ctx context.Context) (err error) {
	app := &v1alpha1.App{
		ObjectMeta: metav1.ObjectMeta{Namespace: c.app.Namespace, Name: "converge"},
		Spec:       v1alpha1.AppSpec{Limits: v1alpha1.Limits{RequestsPerSecond: new(int32(10_000))}, RoleAssignment: v1alpha1.RoleAssignment{FromAttributes: []string{"role"}}},
	}
	bindable := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "scim-operator-bindable-converge"}}
	rule := rbacv1.PolicyRule{APIGroups: []string{rbacv1.GroupName}, Resources: []string{"clusterroles"}, Verbs: []string{"bind"}}
	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: bindable.Name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: bindable.Name},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: localoperator.Namespace, Name: localoperator.ControllerAccount}},
	}
	objects := []client.Object{}
	for i := range c.roles {
		name := "converge-" + c.roleName(i)
		objects = append(objects, &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: name}, Rules: []rbacv1.PolicyRule{
			{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"list"}},
		}})
		rule.ResourceNames = append(rule.ResourceNames, name)
		app.Spec.Roles = append(app.Spec.Roles, v1alpha1.Role{Name: c.roleName(i), Grants: []v1alpha1.Grant{{ClusterRole: name}}})
	}
	bindable.Rules = []rbacv1.PolicyRule{rule}
	if c.token, err = token.New(); err != nil {
		return err
	}
	app.Spec.Tokens = []v1alpha1.AcceptedToken{{Name: app.Name, Digest: token.Digest(c.token)}}
	scimToken := &v1alpha1.ScimToken{
		ObjectMeta: metav1.ObjectMeta{Namespace: app.Namespace, Name: app.Name},
		Spec:       v1alpha1.ScimTokenSpec{App: app.Name, Digest: token.Digest(c.token)},
	}
	for _, object := range append(objects, bindable, binding, app, scimToken) {
		if err := c.admin.Create(ctx, object); err != nil {
			return err
		}
	}
	c.app = client.ObjectKeyFromObject(app)
	if err := c.waitSampleReady(ctx); err != nil {
		return err
	}
	c.scim = newSCIMClient(c.server.URL+"/scim/v2", c.token, fillConcurrency+1)
	return wait.PollUntilContextTimeout(ctx, 50*time.Millisecond, readyTimeout, true, func(ctx context.Context) (bool, error) {
		answer, err := c.scim.do(ctx, "GET", "/Users?count=1", nil)
		return err == nil && answer.status == 200, err
	})
}

// importEverybody creates the whole crowd through SCIM as fast as the server takes them, and waits for the last grant.
func (c *convergence) importEverybody(ctx context.Context) error {
	name := benchmarkConverge(c.roles)
	newcomers := c.newPeople(c.plan.large)
	first := len(newcomers) / leaversShare
	if _, err := c.create(ctx, newcomers[:first]); err != nil {
		return err
	}
	if err := c.watched.wait(ctx, c.progress, first); err != nil {
		return err
	}
	writes, err := c.apiWrites(ctx)
	if err != nil {
		return err
	}
	work, begun := c.work(), time.Now()
	imported, gone, err := c.importWhileLeaving(ctx, newcomers[first:], c.leavers(first))
	if err != nil {
		return err
	}
	if err := c.watched.wait(ctx, c.progress, len(newcomers)-len(gone.product)); err != nil {
		return err
	}
	converged := time.Since(begun)
	users := len(newcomers) - first
	c.report.add(figure{
		name: name, title: fmt.Sprintf("first POST to last grant, ratio: in times of the import (%.0f/s)", float64(users)/imported.Seconds()),
		n: users, concurrency: fillConcurrency, value: float64(users) / converged.Seconds(), unit: perSecond,
		ratio:  converged.Seconds() / imported.Seconds(),
		target: fmt.Sprintf("<= %.2f", convergeTarget), verdict: atMost(converged.Seconds()/imported.Seconds(), convergeTarget),
	})
	c.reportFarewells(name, whileImporting, gone)
	c.reportWork(name, users, work)
	after, err := c.apiWrites(ctx)
	if err != nil {
		return err
	}
	c.reportWrites(name, users, writes, after)
	if current, peak, ok := memoryOf(c.controller.Pid()); ok {
		c.report.add(figure{
			name: name, title: fmt.Sprintf("memory of the controller (peak %d MiB)", peak>>20), n: len(newcomers),
			value: float64(current) / (1 << 20), unit: mebibytes,
			target: fmt.Sprintf("< %d MiB", controllerMemoryTarget), verdict: atMost(float64(peak)/(1<<20), controllerMemoryTarget),
		})
	}
	return nil
}

// newPeople makes persons with the App's roles in turn.
func (c *convergence) newPeople(n int) []person {
	newcomers := c.people.take(n)
	for i := range newcomers {
		newcomers[i].role = c.roleName(i)
	}
	return newcomers
}

// create creates people as fast as the server takes them, and returns how long that took.
func (c *convergence) create(ctx context.Context, newcomers []person) (time.Duration, error) {
	bodies := make([][]byte, len(newcomers))
	for i := range newcomers {
		var err error
		if bodies[i], err = newcomers[i].body(); err != nil {
			return 0, err
		}
	}
	joined, begun := make([]member, len(newcomers)), time.Now()
	created := drive(ctx, len(newcomers), fillConcurrency, func(ctx context.Context, i int) error {
		id, err := c.scim.create(ctx, bodies[i])
		joined[i] = member{person: newcomers[i], id: id}
		c.progress.sayOften("created %d of %d users, %d in all have their roles", i+1, len(newcomers), c.watched.count())
		return err
	})
	elapsed := time.Since(begun)
	c.members = append(c.members, joined...)
	return elapsed, errors.Join(created.first, ctx.Err())
}

// changeRule has all users earn one more role by an expression, and waits until they hold it.
func (c *convergence) changeRule(ctx context.Context) error {
	name, role := benchmarkRule(c.roles), "everybody"
	app := &v1alpha1.App{}
	if err := c.admin.Get(ctx, c.app, app); err != nil {
		return err
	}
	before := app.DeepCopy()
	app.Spec.Roles = append(app.Spec.Roles, v1alpha1.Role{
		Name: role, When: `user.userName.startsWith("jane")`, Grants: app.Spec.Roles[0].Grants,
	})
	c.watched.require(role)
	writes, err := c.apiWrites(ctx)
	if err != nil {
		return err
	}
	work, begun := c.work(), time.Now()
	if err := c.admin.Patch(ctx, app, client.MergeFrom(before)); err != nil {
		return err
	}
	users := len(c.members) - c.left
	if err := c.watched.wait(ctx, c.progress, users); err != nil {
		return err
	}
	c.report.add(figure{
		name: name, title: "change of a rule to the last grant that follows from it", n: users,
		value: float64(users) / time.Since(begun).Seconds(), unit: perSecond,
	})
	c.reportWork(name, users, work)
	after, err := c.apiWrites(ctx)
	if err != nil {
		return err
	}
	c.reportWrites(name, users, writes, after)
	return nil
}
