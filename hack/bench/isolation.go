package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/test/bystander"
)

// isolation is one attack by one tenant, with what a bystander of another tenant saw of it.
type isolation struct {
	bystander.Report
	// memory is by how much the server's resident set grew at its largest, in bytes; 0 where the system does not tell.
	memory int64
	// writes is how many writes a second the API server answered during the attack; work what each process had of the processors.
	writes float64
	work   map[string]float64
	// floorWork is what each process had of them beside the floor.
	floorWork map[string]float64
}

// isolationGroup is the one group of benchmarks with a server that has its default flags.
const isolationGroup = "isolation"

// memoryGrowthTarget bounds by how much clients that do not read make the server grow, in MiB.
const memoryGrowthTarget = 200

// attackerKind is what an attacker's App has.
type attackerKind int

const (
	ordinary attackerKind = iota // users of ordinary size
	large                        // users of 60 KB
	edited                       // few users, in an App of its own, which the attack edits
)

// editedUsers are in an App that is edited.
const editedUsers = 160

// isolationAttack is an attack of the benchmark.
type isolationAttack struct {
	name, title string
	kind        attackerKind
	attack      func(*bystander.Tenant) bystander.Attack
	// floor is what of the attack no operator can spare the API server, by a client that has nothing to do with the product; nil for as
	// many writes as there were more than before, of floorBytes each.
	floor      func(*bystander.Tenant) bystander.Attack
	floorBytes int
}

// edits is an attack by edits of an App; its floor are the same edits of an object that the operator knows nothing of.
func edits(name, title string, edit bystander.Edit) isolationAttack {
	return isolationAttack{
		name: name, title: title, kind: edited,
		attack: func(t *bystander.Tenant) bystander.Attack { return t.Edits(edit) },
		floor:  func(t *bystander.Tenant) bystander.Attack { return t.ForeignEdits(edit) },
	}
}

var isolationAttacks = []isolationAttack{
	{name: "isolation-filters", title: "16 scan filters", kind: ordinary, attack: func(t *bystander.Tenant) bystander.Attack { return t.ScanFilters(16) }},
	{name: "isolation-sorts", title: "8 clients that sort", kind: ordinary, attack: func(t *bystander.Tenant) bystander.Attack { return t.Sorts(8) }},
	{name: "isolation-pages", title: "16 clients that read pages of 1,000", kind: ordinary, attack: func(t *bystander.Tenant) bystander.Attack { return t.Pages(16) }},
	{name: "isolation-bulk", title: "8 bulk clients", kind: ordinary, attack: func(t *bystander.Tenant) bystander.Attack { return t.BulkClients(8) }},
	{name: "isolation-creates", title: "32 clients that create", kind: ordinary, attack: func(t *bystander.Tenant) bystander.Attack { return t.Creates(32) }},
	{name: "isolation-users", title: "8 clients that create users of 150 KB", kind: ordinary, attack: func(t *bystander.Tenant) bystander.Attack { return t.LargeUsers(8, 500, 300) }, floorBytes: 150_000},
	{name: "isolation-groups", title: "8 clients that create groups of 2,000", kind: ordinary, attack: func(t *bystander.Tenant) bystander.Attack { return t.Groups(8, 2000) }},
	{name: "isolation-leavers", title: "16 clients that deactivate and reactivate", kind: ordinary, attack: func(t *bystander.Tenant) bystander.Attack { return t.Leavers(16) }},
	edits("isolation-expressions", "127 expensive expressions of one App", bystander.ExpensiveExpressions),
	edits("isolation-pairs", "1024 pairs of role and scope of one App", bystander.ManyPairs),
	{name: "isolation-tokens", title: "32 clients with wrong tokens", kind: ordinary, attack: func(t *bystander.Tenant) bystander.Attack { return t.WrongTokens(32) }},
	{name: "isolation-json", title: "8 clients with JSON of 9,000 levels", kind: ordinary, attack: func(t *bystander.Tenant) bystander.Attack { return t.DeepJSON(8, 9000) }},
	{name: "isolation-headers", title: "300 clients that send a header line a second", kind: ordinary, attack: func(t *bystander.Tenant) bystander.Attack { return t.SlowHeaders(300) }},
	{name: "isolation-idle", title: "1,000 idle connections, opened anew", kind: ordinary, attack: func(t *bystander.Tenant) bystander.Attack { return t.IdleConnections(1000) }},
	{name: "isolation-bodies", title: "100 clients that send a byte a second", kind: ordinary, attack: func(t *bystander.Tenant) bystander.Attack { return t.SlowBodies(100) }},
	{name: "isolation-readers", title: "100 clients that do not read pages of 60 MB", kind: large, attack: func(t *bystander.Tenant) bystander.Attack { return t.SlowReaders(100) }},
}

func (p plan) isolationNames() []string {
	names := make([]string, len(isolationAttacks))
	for i, a := range isolationAttacks {
		names[i] = a.name
	}
	return names
}

// measureIsolation runs the selected attacks, one after the other, against a server with the flags and Apps with the limits that
// an installation has by default.
func (s *suite) measureIsolation(ctx context.Context, e *environment) error {
	attackers := map[attackerKind]*bystander.Tenant{}
	for _, attack := range isolationAttacks {
		if !s.wants(attack.name) {
			continue
		}
		attacker := attackers[attack.kind]
		if attacker == nil || attack.kind == edited {
			var err error
			if attacker, err = s.newAttacker(ctx, e, attack.kind); err != nil {
				return fmt.Errorf("%s: %w", attack.name, err)
			}
			attackers[attack.kind] = attacker
		}
		if err := s.isolate(ctx, e, attacker, attack); err != nil {
			return fmt.Errorf("%s: %w", attack.name, err)
		}
	}
	return nil
}

// newAttacker fills an App, by more requests than the limits let through that it has afterwards.
func (s *suite) newAttacker(ctx context.Context, e *environment, kind attackerKind) (*bystander.Tenant, error) {
	users, bytes := s.plan.isolationUsers, 200
	switch kind {
	case ordinary:
	case large:
		users, bytes = min(users, 1000), 60_000
	case edited:
		users = min(users, editedUsers)
	}
	attacker, err := bystander.NewTenant(ctx, e.server.URL, e.admin, func(spec *v1alpha1.AppSpec) {
		spec.Limits = v1alpha1.Limits{RequestsPerSecond: new(int32(200))}
	})
	if err != nil {
		return nil, err
	}
	s.progress.say("creating %d users of %d bytes for the attacker", users, bytes)
	if err := attacker.Fill(ctx, users, bytes); err != nil {
		return nil, err
	}
	app := &v1alpha1.App{}
	if err := e.admin.Get(ctx, client.ObjectKeyFromObject(attacker.App), app); err != nil {
		return nil, err
	}
	before := app.DeepCopy()
	app.Spec.Limits = v1alpha1.Limits{}
	return attacker, e.admin.Patch(ctx, app, client.MergeFrom(before))
}

func (s *suite) isolate(ctx context.Context, e *environment, attacker *bystander.Tenant, attack isolationAttack) error {
	other, err := bystander.New(ctx, e.server.URL, e.admin)
	if err != nil {
		return err
	}
	if err := s.settle(ctx, e); err != nil {
		return err
	}
	key := client.ObjectKeyFromObject(other.App)
	other.Bare = func(ctx context.Context) error { return e.bare.Get(ctx, key, &v1alpha1.App{}) }
	s.progress.say("%s: %s before and during %s", attack.name, s.plan.isolationTime, attack.title)
	quiet, err := e.usage(ctx)
	if err != nil {
		return err
	}
	before, _, known := memoryOf(e.server.Pid())
	watching, stop := context.WithCancel(ctx)
	largest := make(chan int64, 1)
	go func() { largest <- watchMemory(watching, e.server.Pid()) }()
	var used usage
	report, err := other.Under(ctx, attack.title, s.plan.isolationTime, func(ctx context.Context) error {
		var err error
		if quiet, err = e.usageSince(ctx, quiet); err != nil {
			return err
		}
		begun, err := e.usage(ctx)
		if err != nil {
			return err
		}
		attackError := attack.attack(attacker)(ctx)
		used, err = e.usageSince(context.WithoutCancel(ctx), begun)
		return errors.Join(attackError, err)
	})
	stop()
	result := isolation{Report: report, writes: used.writes, work: used.work}
	if most := <-largest; known {
		result.memory = max(0, most-before)
	}
	if err == nil {
		err = s.besideFloor(ctx, e, other, attacker, attack, &result, used.writes-quiet.writes)
	}
	if err != nil {
		return err
	}
	s.report.isolations = append(s.report.isolations, result)
	return nil
}

const (
	// settled is what part of a processor the controller takes that has nothing to do any more.
	settled = 0.05
	// settleTimeout bounds the wait for that.
	settleTimeout = time.Minute
)

// settle returns when the controller has done what the attack before it, or the filling of an App, gave it to do; later ones would
// be measured beside it.
func (s *suite) settle(ctx context.Context, e *environment) error {
	begun := time.Now()
	for time.Since(begun) < settleTimeout {
		before := e.work()["controller"]
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(2 * time.Second):
		}
		if (e.work()["controller"] - before).Seconds() < 2*settled {
			return nil
		}
	}
	s.progress.say("the controller is still busy after %s", settleTimeout)
	return nil
}

// watchMemory returns the largest resident set of a process until ctx ends.
func watchMemory(ctx context.Context, pid int) (largest int64) {
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		if resident, _, ok := memoryOf(pid); ok {
			largest = max(largest, resident)
		}
		select {
		case <-ctx.Done():
			return largest
		case <-ticker.C:
		}
	}
}
