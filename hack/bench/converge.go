package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/token"
	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/hack/stack"
)

const (
	// convergeTarget is how long the last grant may take, in times of the import that it ends.
	convergeTarget = 1.2
	// revokedTarget is the 99th percentile of a deactivation while an import runs.
	revokedTarget = 500 * time.Millisecond
	// leaveEvery is how often somebody is deactivated while an import runs.
	leaveEvery = 250 * time.Millisecond
	// denialPoll is how often the API server is asked whether it denies somebody: seldom enough to be no load.
	denialPoll = 5 * time.Millisecond
	// leaversShare is what part of the people is there before the import, and may leave meanwhile.
	leaversShare = 20
)

// convergeRoles are how many roles the App has whose import is measured.
var convergeRoles = []int{15, 1}

func benchmarkConverge(roles int) string { return fmt.Sprintf("converge-%d", roles) }
func benchmarkRule(roles int) string     { return fmt.Sprintf("rule-%d", roles) }

func (p plan) convergeNames() []string {
	var names []string
	for _, roles := range convergeRoles {
		names = append(names, benchmarkConverge(roles), benchmarkRule(roles))
	}
	return append(names, benchmarkControllerMemory)
}

// measureConvergence imports everybody at full speed into one App for each number of roles, while people of an earlier import
// leave, and then changes a rule of the App.
func (s *suite) measureConvergence(ctx context.Context) error {
	for _, roles := range convergeRoles {
		if !s.wantsAny(benchmarkConverge(roles), benchmarkRule(roles)) {
			continue
		}
		if err := s.within(ctx, benchmarkConverge(roles), func(ctx context.Context, e *environment) error {
			c := &convergence{suite: s, environment: e, roles: roles}
			return c.measure(ctx)
		}); err != nil {
			return fmt.Errorf("%s: %w", benchmarkConverge(roles), err)
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
	members []member
	left    int
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
	if err := c.importEverybody(ctx); err != nil {
		return err
	}
	if c.wants(benchmarkRule(c.roles)) {
		return c.changeRule(ctx)
	}
	return nil
}

// makeApp makes an App with so many roles, each of which grants a ClusterRole of its own, and a token for it.
func (c *convergence) makeApp(ctx context.Context) (err error) {
	app := &v1alpha1.App{
		ObjectMeta: metav1.ObjectMeta{Namespace: c.app.Namespace, Name: "converge"},
		Spec:       v1alpha1.AppSpec{RoleAssignment: v1alpha1.RoleAssignment{FromAttributes: []string{"role"}}},
	}
	bindable := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "scim-operator-bindable-converge"}}
	rule := rbacv1.PolicyRule{APIGroups: []string{rbacv1.GroupName}, Resources: []string{"clusterroles"}, Verbs: []string{"bind"}}
	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: bindable.Name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: bindable.Name},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: stack.Namespace, Name: stack.ControllerAccount}},
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

// importEverybody creates everybody through SCIM as fast as the server takes them, and waits for the last grant.
func (c *convergence) importEverybody(ctx context.Context) error {
	name := benchmarkConverge(c.roles)
	newcomers := c.people.take(c.plan.large)
	bodies := make([][]byte, len(newcomers))
	for i := range newcomers {
		newcomers[i].role = c.roleName(i)
		var err error
		if bodies[i], err = newcomers[i].body(); err != nil {
			return err
		}
	}
	first := len(newcomers) / leaversShare
	if err := c.create(ctx, newcomers[:first], bodies[:first]); err != nil {
		return err
	}
	if err := c.watched.wait(ctx, c.progress, first); err != nil {
		return err
	}
	writes, err := c.apiWrites(ctx)
	if err != nil {
		return err
	}
	work := c.work()
	leaving, stopLeaving := context.WithCancel(ctx)
	left := make(chan []farewell, 1)
	go func() { left <- c.leave(leaving, c.members[:first]) }()

	c.progress.say("importing %d users", len(newcomers)-first)
	begun := time.Now()
	err = c.create(ctx, newcomers[first:], bodies[first:])
	imported := time.Since(begun)
	stopLeaving()
	farewells := <-left
	if err != nil {
		return err
	}
	c.progress.say("imported in %s, %d of %d users have their roles", imported.Round(time.Second), c.watched.count(), len(newcomers)-len(farewells))
	if err := c.watched.wait(ctx, c.progress, len(newcomers)-len(farewells)); err != nil {
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
	c.reportFarewells(name, farewells)
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
			target: fmt.Sprintf("<= %d MB", controllerMemoryTarget), verdict: atMost(float64(peak)/1e6, controllerMemoryTarget),
		})
	}
	return nil
}

func (c *convergence) create(ctx context.Context, newcomers []person, bodies [][]byte) error {
	joined := make([]member, len(newcomers))
	created := drive(ctx, len(newcomers), fillConcurrency, func(ctx context.Context, i int) error {
		id, err := c.scim.create(ctx, bodies[i])
		joined[i] = member{person: newcomers[i], id: id}
		c.progress.sayOften("created %d of %d users, %d in all have their roles", i+1, len(newcomers), c.watched.count())
		return err
	})
	c.members = append(c.members, joined...)
	return errors.Join(created.first, ctx.Err())
}

// leave deactivates one person after the other until it is told to end, at an even pace.
func (c *convergence) leave(ctx context.Context, leavers []member) []farewell {
	var farewells []farewell
	ticker := time.NewTicker(leaveEvery)
	defer ticker.Stop()
	for i := range leavers {
		select {
		case <-ctx.Done():
			return farewells
		case <-ticker.C:
		}
		// One that has begun is seen to its end: it counts, and its person has no role.
		f, err := c.sayFarewell(context.WithoutCancel(ctx), &leavers[i])
		if err != nil {
			c.progress.say("deactivating %s: %v", leavers[i].id, err)
			f.denied = denialTimeout
		}
		leavers[i].left = true
		c.left++
		farewells = append(farewells, f)
	}
	return farewells
}

// sayFarewell deactivates one person and asks the API server from then on until it denies them what they could do.
func (c *convergence) sayFarewell(ctx context.Context, leaver *member) (farewell, error) {
	ctx, cancel := context.WithTimeout(ctx, denialTimeout)
	defer cancel()
	right := authorizationv1.ResourceAttributes{Namespace: c.app.Namespace, Verb: "list", Resource: "pods"}
	if allowed, err := c.allows(ctx, leaver, right); err != nil || !allowed {
		return farewell{}, errors.Join(err, errors.New("was not allowed anything to begin with"))
	}
	begun, denied := time.Now(), make(chan error, 1)
	var f farewell
	go func() {
		for {
			allowed, err := c.allows(ctx, leaver, right)
			if err != nil || !allowed {
				f.denied = time.Since(begun)
				denied <- err
				return
			}
			time.Sleep(denialPoll)
		}
	}()
	answer, err := c.scim.do(ctx, http.MethodPatch, userPath(leaver.id), deactivation)
	f.answered = time.Since(begun)
	if err == nil {
		err = answer.expect(http.StatusOK)
	}
	return f, errors.Join(err, <-denied)
}

func (c *convergence) reportFarewells(name string, farewells []farewell) {
	if len(farewells) == 0 {
		return
	}
	answered, denied := make([]time.Duration, len(farewells)), make([]time.Duration, len(farewells))
	for i, f := range farewells {
		answered[i], denied[i] = f.answered, f.denied
	}
	p99 := percentile(denied, 99)
	c.report.add(figure{
		name: name, title: "PATCH active=false to its answer, while importing", n: len(farewells), concurrency: 1,
		p50: percentile(answered, 50), p99: percentile(answered, 99),
	})
	c.report.add(figure{
		name: name, title: "PATCH active=false to the denial, while importing", n: len(farewells), concurrency: 1,
		p50: percentile(denied, 50), p99: p99,
		target: fmt.Sprintf("p99 <= %s", revokedTarget), verdict: atMost(p99.Seconds(), revokedTarget.Seconds()),
	})
}

// changeRule has everybody earn one more role by an expression, and waits until they hold it.
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
