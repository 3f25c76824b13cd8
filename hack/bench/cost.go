package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

const (
	// userSizeTarget is the most bytes of etcd that a User may take.
	userSizeTarget = 2048
	// createCostTarget is the most milliseconds of its processor time that the API server may spend on a user created.
	createCostTarget = 4.5
	// settleInterval is the time between two looks at all statuses: a list from the API server's cache, which counts as its work.
	settleInterval = time.Second
)

// costKinds are the imports that are looked at: into an App that grants nothing, and into the sample, where each user earns a role.
var costKinds = []string{"plain", "roles"}

func benchmarkCost(kind string) string { return "cost-" + kind }

func (p plan) costNames() []string {
	var names []string
	for _, kind := range costKinds {
		names = append(names, benchmarkCost(kind))
	}
	return names
}

// costs are what one user costs: in API calls, in processor time, and in bytes in etcd. Other programs on the machine change these
// figures little, unlike rates. The controller runs.
type costs struct {
	*suite
	*environment
	kind, name string
	pop        population
	// mould is what the store holds of one of the users.
	mould *mould
}

// measureCosts imports users into an App of its own control plane, looks at what etcd has of one, and deactivates a quarter of them.
func (s *suite) measureCosts(ctx context.Context, kind string, e *environment) error {
	c := &costs{suite: s, environment: e, kind: kind, name: benchmarkCost(kind)}
	if kind == "plain" {
		if err := c.grantNothing(ctx); err != nil {
			return err
		}
	}
	// The first users fill the API server's caches of schemas and expressions.
	if err := c.importUsers(ctx, s.plan.costs/5); err != nil {
		return err
	}
	if err := c.account(ctx, "created", s.plan.costs, func() error { return c.importUsers(ctx, s.plan.costs) }); err != nil {
		return err
	}
	if err := c.reportSizes(ctx); err != nil {
		return err
	}
	leavers := c.pop.leavers(c.plan.costs / 4)
	if err := c.account(ctx, "deactivated", len(leavers), func() error { return c.deactivateAll(ctx, leavers) }); err != nil {
		return err
	}
	if err := c.measureFloor(ctx); err != nil {
		return err
	}
	return c.measureCreateFloor(ctx)
}

// grantNothing takes the rules out of the sample App.
func (c *costs) grantNothing(ctx context.Context) error {
	app := &v1alpha1.App{}
	if err := c.admin.Get(ctx, c.app, app); err != nil {
		return err
	}
	before := app.DeepCopy()
	app.Spec.RoleAssignment, app.Spec.Roles, app.Spec.Scopes = v1alpha1.RoleAssignment{}, nil, v1alpha1.Scopes{}
	if err := c.admin.Patch(ctx, app, client.MergeFrom(before)); err != nil {
		return err
	}
	return c.waitSampleReady(ctx)
}

// account adds what each of n users cost while do was done and each status written.
func (c *costs) account(ctx context.Context, what string, n int, do func() error) error {
	calls, err := c.apiCalls(ctx)
	if err != nil {
		return err
	}
	work := c.work()
	if err := do(); err != nil {
		return err
	}
	now := c.work()
	after, err := c.apiCalls(ctx)
	if err != nil {
		return err
	}
	c.reportCounts(c.name, fmt.Sprintf("API calls for each user %s, controller running: ", what), n, calls, after)
	c.reportProcessors(what+", controller running", n, work, now)
	return nil
}

func (c *costs) reportProcessors(what string, n int, before, after map[string]time.Duration) {
	var texts []string
	for process, taken := range after {
		texts = append(texts, fmt.Sprintf("%s %.2f", process, inMilliseconds(taken-before[process])/float64(n)))
	}
	if len(texts) == 0 {
		return // the system tells no processor times
	}
	slices.Sort(texts)
	const apiServer = "kube-apiserver"
	f := figure{
		name: c.name, title: fmt.Sprintf("API server, processor ms for each user %s: %s", what, strings.Join(texts, ", ")),
		n: n, concurrency: fillConcurrency, ratio: inMilliseconds(after[apiServer]-before[apiServer]) / float64(n),
	}
	if strings.HasPrefix(what, "created") {
		f.target, f.verdict = fmt.Sprintf("<= %.1f", createCostTarget), atMost(f.ratio, createCostTarget)
	}
	c.report.add(f)
}

// importUsers creates users as fast as the server takes them, and waits for each status.
func (c *costs) importUsers(ctx context.Context, n int) error {
	newcomers := c.newPeople(n)
	bodies := make([][]byte, n)
	for i := range newcomers {
		if c.kind == "plain" {
			newcomers[i].role, newcomers[i].regions = "", ""
		}
		var err error
		if bodies[i], err = newcomers[i].body(); err != nil {
			return err
		}
	}
	joined := make([]member, n)
	created := drive(ctx, n, fillConcurrency, func(ctx context.Context, i int) error {
		id, err := c.scim.create(ctx, bodies[i])
		joined[i] = member{person: newcomers[i], id: id}
		return err
	})
	if err := errors.Join(created.first, ctx.Err()); err != nil {
		return err
	}
	c.pop.members = append(c.pop.members, joined...)
	return c.waitSettled(ctx)
}

// waitSettled returns when the status of each user speaks of its generation.
func (c *costs) waitSettled(ctx context.Context) error {
	cached := &client.ListOptions{Namespace: c.app.Namespace, Raw: &metav1.ListOptions{ResourceVersion: "0"}}
	return wait.PollUntilContextTimeout(ctx, settleInterval, stallTimeout, false, func(ctx context.Context) (bool, error) {
		var list v1alpha1.UserList
		if err := c.admin.List(ctx, &list, cached); err != nil {
			return false, err
		}
		settled := 0
		for i := range list.Items {
			if list.Items[i].Status.ObservedGeneration == list.Items[i].Generation {
				settled++
			}
		}
		return settled >= len(c.pop.members), nil
	})
}

func (c *costs) deactivateAll(ctx context.Context, leavers []*member) error {
	left := drive(ctx, len(leavers), fillConcurrency, func(ctx context.Context, i int) error {
		leavers[i].left = true
		answer, err := c.scim.do(ctx, http.MethodPatch, userPath(leavers[i].id), deactivation)
		if err != nil {
			return err
		}
		return answer.expect(http.StatusOK)
	})
	if err := errors.Join(left.first, ctx.Err()); err != nil {
		return err
	}
	c.report.add(figure{
		name: c.name, title: "PATCH active=false, controller running", n: len(leavers), concurrency: fillConcurrency,
		value: left.rate(), unit: perSecond, p50: percentile(left.latencies, 50), p99: percentile(left.latencies, 99),
	})
	return c.waitSettled(ctx)
}

// reportSizes adds how many bytes of etcd a User and its NameClaim take, and which parts of them.
func (c *costs) reportSizes(ctx context.Context) error {
	store, err := newEtcdClient(c.plane.EtcdConfig())
	if err != nil {
		return err
	}
	m := &mould{person: c.pop.members[0].person, app: c.app.Name, id: c.pop.members[0].id}
	if err := m.take(ctx, c.environment, store); err != nil {
		return err
	}
	c.mould = m
	for _, object := range []struct {
		resource string
		stored   []byte
	}{{"User", m.user}, {"NameClaim", m.nameClaim}} {
		parts, err := partsOf(object.stored)
		if err != nil {
			return err
		}
		f := figure{name: c.name, title: "bytes of a " + object.resource + " in etcd: " + parts, n: 1, ratio: float64(len(object.stored))}
		if object.resource == "User" {
			f.target, f.verdict = fmt.Sprintf("<= %d", userSizeTarget), atMost(f.ratio, userSizeTarget)
		}
		c.report.add(f)
	}
	return nil
}

func partsOf(stored []byte) (string, error) {
	var object struct {
		Metadata     map[string]json.RawMessage
		Spec, Status json.RawMessage
	}
	if err := json.Unmarshal(stored, &object); err != nil {
		return "", err
	}
	return fmt.Sprintf("managedFields %d, status %d, spec %d", len(object.Metadata["managedFields"]), len(object.Status), len(object.Spec)), nil
}
