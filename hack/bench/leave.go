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
	revokedTarget = 250 * time.Millisecond
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
	if err := c.makeBareLeavers(ctx); err != nil {
		return err
	}
	c.reportFarewells(name, "of "+strconv.Itoa(there)+" users", c.leave(ctx, c.leavers(max(1, there/calmShare))))
	joiners := c.newPeople(there / joinersShare)
	work := c.work()
	imported, gone, err := c.importWhileLeaving(ctx, joiners, c.leavers(there/joinersShare))
	if err != nil {
		return err
	}
	c.report.add(figure{
		name: name, title: fmt.Sprintf("import into an App of %d users while people leave", there), n: len(joiners),
		concurrency: fillConcurrency, value: float64(len(joiners)) / imported.Seconds(), unit: perSecond,
	})
	c.reportFarewells(name, whileImporting, gone)
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
func (c *convergence) importWhileLeaving(ctx context.Context, joiners []person, leavers []*member) (time.Duration, farewells, error) {
	leaving, stopLeaving := context.WithCancel(ctx)
	defer stopLeaving()
	left := make(chan farewells, 1)
	go func() { left <- c.leave(leaving, leavers) }()
	c.progress.say("importing %d users", len(joiners))
	imported, err := c.create(ctx, joiners)
	stopLeaving()
	gone := <-left
	c.progress.say("imported in %s, %d users have their roles, %d people left", imported.Round(time.Second), c.watched.count(), len(gone.product))
	return imported, gone, err
}

// farewells are those of people that the product takes out, and of others that leave by bare writes, in turns with them.
type farewells struct{ product, bare []farewell }

// leave deactivates one person after the other until it is told to end, at an even pace. Between two of them another one leaves by bare
// writes.
func (c *convergence) leave(ctx context.Context, leavers []*member) (gone farewells) {
	ticker := time.NewTicker(leaveEvery / 2)
	defer ticker.Stop()
	tick := func() bool {
		select {
		case <-ctx.Done():
			return false
		case <-ticker.C:
			return true
		}
	}
	for _, leaver := range leavers {
		if !tick() {
			break
		}
		// One that has begun is seen to its end: it counts, and its person has no role.
		gone.product = append(gone.product, c.sayFarewell(context.WithoutCancel(ctx), leaver.subject(), func(ctx context.Context) error {
			return c.deactivatePlainly(ctx, leaver)
		}))
		leaver.left = true
		c.left++
		if !tick() {
			break
		}
		bare := c.nextBare()
		if bare == nil {
			continue
		}
		gone.bare = append(gone.bare, c.sayFarewell(context.WithoutCancel(ctx), bare.subject, func(ctx context.Context) error {
			return c.leaveBare(ctx, bare)
		}))
	}
	return gone
}

func (c *convergence) deactivatePlainly(ctx context.Context, leaver *member) error {
	answer, err := c.scim.do(ctx, http.MethodPatch, userPath(leaver.id), deactivation)
	if err != nil {
		return err
	}
	return answer.expect(http.StatusOK)
}

// sayFarewell has a subject leave, and asks the API server from then on until it denies what the subject could do. One that fails
// counts as denied when that was given up.
func (c *convergence) sayFarewell(ctx context.Context, subject string, leave func(context.Context) error) farewell {
	f, err := c.seeOff(ctx, subject, leave)
	if err != nil {
		c.progress.say("taking out %s: %v", subject, err)
		f.denied = denialTimeout
	}
	return f
}

func (c *convergence) seeOff(ctx context.Context, subject string, leave func(context.Context) error) (farewell, error) {
	ctx, cancel := context.WithTimeout(ctx, denialTimeout)
	defer cancel()
	right := authorizationv1.ResourceAttributes{Namespace: c.app.Namespace, Verb: "list", Resource: "pods"}
	if allowed, err := c.allows(ctx, subject, right); err != nil || !allowed {
		return farewell{}, errors.Join(err, errors.New("was not allowed anything to begin with"))
	}
	begun, denied := time.Now(), make(chan error, 1)
	var f farewell
	go func() {
		for {
			allowed, err := c.allows(ctx, subject, right)
			if err != nil || !allowed {
				f.denied = time.Since(begun)
				denied <- err
				return
			}
			time.Sleep(denialPoll)
		}
	}()
	err := leave(ctx)
	if err != nil {
		cancel()
	}
	f.answered = time.Since(begun)
	return f, errors.Join(err, <-denied)
}

func (c *convergence) reportFarewells(name, when string, gone farewells) {
	if len(gone.product) == 0 {
		return
	}
	answered, denied := latenciesOf(gone.product)
	p99 := percentile(denied, 99)
	c.report.add(figure{
		name: name, title: "PATCH active=false to its answer, " + when, n: len(gone.product), concurrency: 1,
		p50: percentile(answered, 50), p99: percentile(answered, 99),
	})
	c.report.add(figure{
		name: name, title: "PATCH active=false to the denial, " + when, n: len(gone.product), concurrency: 1,
		p50: percentile(denied, 50), p99: p99,
		target: fmt.Sprintf("p99 <= %s", revokedTarget), verdict: atMost(p99.Seconds(), revokedTarget.Seconds()),
	})
	if _, denied := latenciesOf(gone.bare); len(denied) > 0 {
		c.report.add(figure{
			name: name, title: "the writes of a leaver alone, by a bare client in turns with these, to the denial, " + when, n: len(denied), concurrency: 1,
			p50: percentile(denied, 50), p99: percentile(denied, 99),
		})
	}
}

func latenciesOf(gone []farewell) (answered, denied []time.Duration) {
	for _, f := range gone {
		answered, denied = append(answered, f.answered), append(denied, f.denied)
	}
	return answered, denied
}
