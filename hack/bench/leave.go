package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"

	"github.com/scim-operator/scim-operator/hack/localoperator"
)

const (
	// revokedTarget is the 99th percentile of a deactivation while an import runs.
	revokedTarget = 500 * time.Millisecond
	// leaveEvery is how often a user is deactivated while an import runs.
	leaveEvery = 250 * time.Millisecond
	// denialPoll is how often the API server is asked whether it denies a user. It looks at every subject of a namespace
	// before it denies: to ask it more often would be a load of its own.
	denialPoll = 20 * time.Millisecond
	// joinersShare is what part of the present users comes in addition while they leave.
	joinersShare = 10
	// calmShare is what part of them leaves before that, while nothing else happens.
	calmShare = 1000

	whileImporting = "while importing"
)

func benchmarkLeave(roles int) string { return fmt.Sprintf("leave-%d", roles) }

// measureFull has users leave an App that is full already, while more are imported at full speed, and then changes a rule of
// the App. The present users are written past the API server, and a controller that starts then binds them.
func (c *convergence) measureFull(ctx context.Context) (err error) {
	if err := c.makeApp(ctx); err != nil {
		return err
	}
	if err := c.populate(ctx); err != nil {
		return err
	}
	if c.watched, err = watchHolders(ctx, c.environment); err != nil {
		return err
	}
	defer c.watched.stop()
	if c.wants(benchmarkLeave(c.roles)) {
		if err := c.measureLeavers(ctx); err != nil {
			return err
		}
	}
	if c.wants(benchmarkRule(c.roles)) {
		c.progress.group = benchmarkRule(c.roles)
		return c.changeRule(ctx)
	}
	return nil
}

func (c *convergence) measureLeavers(ctx context.Context) error {
	name, there := benchmarkLeave(c.roles), len(c.members)
	c.progress.say("people leave while nothing else happens")
	c.reportFarewells(name, "of "+strconv.Itoa(there)+" users", c.leave(ctx, c.leavers(max(1, there/calmShare))))
	joiners := c.newPeople(there / joinersShare)
	work := c.work()
	imported, farewells, err := c.importWhileLeaving(ctx, joiners, c.leavers(there/joinersShare))
	if err != nil {
		return err
	}
	c.report.add(figure{
		name: name, title: fmt.Sprintf("import into an App of %d users while people leave", there), n: len(joiners),
		concurrency: fillConcurrency, value: float64(len(joiners)) / imported.Seconds(), unit: perSecond,
	})
	c.reportFarewells(name, whileImporting, farewells)
	c.reportWork(name, len(joiners), work)
	return c.watched.wait(ctx, c.progress, len(c.members)-c.left)
}

// populate fills the App and has a new controller bind all users.
func (c *convergence) populate(ctx context.Context) error {
	t := &tenant{app: c.app.Name, scim: c.scim, newPeople: c.newPeople}
	if err := c.fillAlone(ctx, c.environment, t, c.roles); err != nil {
		return err
	}
	c.progress.say("starting a server and a controller on %d users", len(t.members))
	if err := c.startServer(ctx); err != nil {
		return err
	}
	c.scim.base = c.server.URL + "/scim/v2"
	if err := c.startController(ctx); err != nil {
		return err
	}
	c.population = t.population
	if err := c.waitBound(ctx, len(t.members)); err != nil {
		return err
	}
	return localoperator.WaitForPolicies(ctx, c.config) // or the App could not be edited
}

// importWhileLeaving creates people at full speed while others leave one after the other, and returns how long it took.
func (c *convergence) importWhileLeaving(ctx context.Context, joiners []person, leavers []*member) (time.Duration, []farewell, error) {
	leaving, stopLeaving := context.WithCancel(ctx)
	defer stopLeaving()
	left := make(chan []farewell, 1)
	go func() { left <- c.leave(leaving, leavers) }()
	c.progress.say("importing %d users", len(joiners))
	imported, err := c.create(ctx, joiners)
	stopLeaving()
	farewells := <-left
	c.progress.say("imported in %s, %d users have their roles, %d people left", imported.Round(time.Second), c.watched.count(), len(farewells))
	return imported, farewells, err
}

// leave deactivates one person after the other until it is told to end, at an even pace.
func (c *convergence) leave(ctx context.Context, leavers []*member) []farewell {
	var farewells []farewell
	ticker := time.NewTicker(leaveEvery)
	defer ticker.Stop()
	for _, leaver := range leavers {
		select {
		case <-ctx.Done():
			return farewells
		case <-ticker.C:
		}
		// One that has begun is seen to its end: it counts, and its person has no role.
		f, err := c.sayFarewell(context.WithoutCancel(ctx), leaver)
		if err != nil {
			c.progress.say("deactivating %s: %v", leaver.id, err)
			f.denied = denialTimeout
		}
		leaver.left = true
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

func (c *convergence) reportFarewells(name, when string, farewells []farewell) {
	if len(farewells) == 0 {
		return
	}
	answered, denied := make([]time.Duration, len(farewells)), make([]time.Duration, len(farewells))
	for i, f := range farewells {
		answered[i], denied[i] = f.answered, f.denied
	}
	p99 := percentile(denied, 99)
	c.report.add(figure{
		name: name, title: "PATCH active=false to its answer, " + when, n: len(farewells), concurrency: 1,
		p50: percentile(answered, 50), p99: percentile(answered, 99),
	})
	c.report.add(figure{
		name: name, title: "PATCH active=false to the denial, " + when, n: len(farewells), concurrency: 1,
		p50: percentile(denied, 50), p99: p99,
		target: fmt.Sprintf("p99 <= %s", revokedTarget), verdict: atMost(p99.Seconds(), revokedTarget.Seconds()),
	})
}
