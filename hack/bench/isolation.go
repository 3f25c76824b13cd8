package main

import (
	"context"
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
}

// isolationGroup is the one group of benchmarks with a server that has its default flags.
const isolationGroup = "isolation"

// memoryGrowthTarget bounds by how much clients that do not read make the server grow, in MiB.
const memoryGrowthTarget = 200

// isolationAttack is an attack of the benchmark: small takes users of ordinary size, large those of 60 KB.
type isolationAttack struct {
	name, title string
	large       bool
	attack      func(*bystander.Tenant) bystander.Attack
}

var isolationAttacks = []isolationAttack{
	{"isolation-filters", "16 scan filters", false, func(t *bystander.Tenant) bystander.Attack { return t.ScanFilters(16) }},
	{"isolation-sorts", "8 clients that sort", false, func(t *bystander.Tenant) bystander.Attack { return t.Sorts(8) }},
	{"isolation-bulk", "8 bulk clients", false, func(t *bystander.Tenant) bystander.Attack { return t.BulkClients(8) }},
	{"isolation-creates", "32 clients that create", false, func(t *bystander.Tenant) bystander.Attack { return t.Creates(32) }},
	{"isolation-tokens", "32 clients with wrong tokens", false, func(t *bystander.Tenant) bystander.Attack { return t.WrongTokens(32) }},
	{"isolation-json", "8 clients with JSON of 9,000 levels", false, func(t *bystander.Tenant) bystander.Attack { return t.DeepJSON(8, 9000) }},
	{"isolation-readers", "100 clients that do not read pages of 60 MB", true, func(t *bystander.Tenant) bystander.Attack { return t.SlowReaders(100) }},
	{"isolation-bodies", "100 clients that send a byte a second", false, func(t *bystander.Tenant) bystander.Attack { return t.SlowBodies(100) }},
	// These edit the attacker's App, and come last.
	{"isolation-expressions", "127 expensive expressions of one App", false, (*bystander.Tenant).ExpensiveExpressions},
	{"isolation-pairs", "1024 pairs of role and scope of one App", false, (*bystander.Tenant).ManyPairs},
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
	attackers := map[bool]*bystander.Tenant{}
	for _, attack := range isolationAttacks {
		if !s.wants(attack.name) {
			continue
		}
		attacker := attackers[attack.large]
		if attacker == nil {
			var err error
			if attacker, err = s.newAttacker(ctx, e, attack.large); err != nil {
				return fmt.Errorf("%s: %w", attack.name, err)
			}
			attackers[attack.large] = attacker
		}
		if err := s.isolate(ctx, e, attacker, attack); err != nil {
			return fmt.Errorf("%s: %w", attack.name, err)
		}
	}
	return nil
}

// newAttacker fills an App, by more requests than the limits let through that it has afterwards.
func (s *suite) newAttacker(ctx context.Context, e *environment, large bool) (*bystander.Tenant, error) {
	users, bytes := s.plan.isolationUsers, 200
	if large {
		users, bytes = min(users, 1000), 60_000
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
	s.progress.say("%s: %s before and during %s", attack.name, s.plan.isolationTime, attack.title)
	before, _, known := memoryOf(e.server.Pid())
	watching, stop := context.WithCancel(ctx)
	largest := make(chan int64, 1)
	go func() { largest <- watchMemory(watching, e.server.Pid()) }()
	report, err := other.Under(ctx, attack.title, s.plan.isolationTime, attack.attack(attacker))
	stop()
	result := isolation{Report: report}
	if most := <-largest; known {
		result.memory = max(0, most-before)
	}
	if err != nil {
		return err
	}
	s.report.isolations = append(s.report.isolations, result)
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
