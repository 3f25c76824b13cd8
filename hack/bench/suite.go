package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"time"

	"github.com/scim-operator/scim-operator/hack/controlplane"
	"github.com/scim-operator/scim-operator/hack/localoperator"
)

// plan holds the sizes of a run.
type plan struct {
	// rounds of each side of a comparison, after one short round that is not counted.
	rounds int
	// creates and reads of each side in one round.
	creates, reads int
	// createInto is how many users the App of the create benchmarks holds before.
	createInto int
	// createConcurrency lists the concurrencies of the create benchmark; reads have one.
	createConcurrency []int
	readConcurrency   int
	// populations lists how many users the App holds, ascending.
	populations []int
	// leavers are deactivated at each population.
	leavers int
	// pagingPasses are made through each population.
	pagingPasses int
	// large is how many users the App of the benchmarks of large.go holds; another one holds a tenth of them.
	large int
	// groups of the large App; groupSizes are those of three of them, at most all users, and most the other groups'.
	groups, groupMembers int
	groupSizes           []int
	// costs is how many users the benchmarks of cost.go import; a quarter of them leave.
	costs int
	// isolationUsers are in the attacker's App; a bystander is measured for isolationTime before each attack and during it.
	isolationUsers int
	isolationTime  time.Duration
}

// fullPlan is what `make bench` runs: about two hours on two cores.
var fullPlan = plan{
	rounds:            9,
	creates:           480,
	reads:             1200,
	createConcurrency: []int{8, 32},
	readConcurrency:   8,
	populations:       []int{1000, 10000},
	leavers:           200,
	pagingPasses:      11,
	large:             100_000,
	groups:            1000,
	groupMembers:      100,
	groupSizes:        []int{100, 5000, 100_000},
	costs:             2000,
	isolationUsers:    5000,
	isolationTime:     10 * time.Second,
}

// quickPlan goes through every step of fullPlan in less than a minute.
var quickPlan = plan{
	rounds:            2,
	creates:           24,
	reads:             40,
	createConcurrency: []int{8, 32},
	readConcurrency:   8,
	populations:       []int{120, 240},
	leavers:           6,
	pagingPasses:      2,
	large:             1200,
	groups:            6,
	groupMembers:      10,
	groupSizes:        []int{100, 600, 1200},
	costs:             60,
	isolationUsers:    300,
	isolationTime:     2 * time.Second,
}

const (
	benchmarkReadGet  = "read-get"
	benchmarkReadHit  = "read-hit"
	benchmarkReadMiss = "read-miss"
)

func benchmarkCreate(concurrency int) string    { return fmt.Sprintf("create-%d", concurrency) }
func benchmarkGrant(population int) string      { return fmt.Sprintf("grant-%d", population) }
func benchmarkPage(population int) string       { return fmt.Sprintf("page-%d", population) }
func benchmarkDeactivate(population int) string { return fmt.Sprintf("deactivate-%d", population) }

func (p plan) createNames() []string {
	names := make([]string, len(p.createConcurrency))
	for i, concurrency := range p.createConcurrency {
		names[i] = benchmarkCreate(concurrency)
	}
	return names
}

// populationNames lists the benchmarks that run at one population.
func (p plan) populationNames(population int) []string {
	names := []string{benchmarkGrant(population), benchmarkPage(population), benchmarkDeactivate(population)}
	if population == p.populations[0] {
		names = append(names, benchmarkReadGet, benchmarkReadHit, benchmarkReadMiss)
	}
	return names
}

func (p plan) names() []string {
	names := p.createNames()
	for _, population := range p.populations {
		names = append(names, p.populationNames(population)...)
	}
	return slices.Concat(names, p.costNames(), p.largeNames(), p.convergeNames(), p.isolationNames(), p.admissionNames())
}

// suite is one run of the program.
type suite struct {
	plan     plan
	selected *regexp.Regexp
	list     bool
	timeout  time.Duration
	logs     string // directory, or ""
	// pprofPort is where the server serves profiles, and the controller on the next one; 0 for neither.
	pprofPort int
	progress  *progress
	report    *report

	binDir string // of the control plane
	binary string // the operator's
	people people
}

func (s *suite) wants(name string) bool { return s.selected.MatchString(name) }

func (s *suite) wantsAny(names ...string) bool { return slices.ContainsFunc(names, s.wants) }

// measure runs the selected benchmarks into the report.
func (s *suite) measure(ctx context.Context) (err error) {
	s.report.begin()
	defer s.report.end()
	if s.logs != "" {
		if err := os.MkdirAll(s.logs, 0o700); err != nil {
			return err
		}
	}
	if s.binDir, err = controlplane.Ensure(ctx, s.progress.writer); err != nil {
		return err
	}
	s.progress.say("building the operator")
	if s.binary, err = localoperator.BuildOperator(ctx); err != nil {
		return err
	}
	if s.wantsAny(s.plan.createNames()...) {
		if err := s.within(ctx, "create", s.measureCreates); err != nil {
			return fmt.Errorf("create: %w", err)
		}
	}
	if last := s.lastPopulation(); last >= 0 {
		if err := s.within(ctx, "directory", func(ctx context.Context, e *environment) error {
			return s.measureDirectory(ctx, e, s.plan.populations[:last+1])
		}); err != nil {
			return fmt.Errorf("directory: %w", err)
		}
	}
	for _, kind := range costKinds {
		if !s.wants(benchmarkCost(kind)) {
			continue
		}
		if err := s.within(ctx, benchmarkCost(kind), func(ctx context.Context, e *environment) error {
			return s.measureCosts(ctx, kind, e)
		}); err != nil {
			return fmt.Errorf("%s: %w", benchmarkCost(kind), err)
		}
	}
	if s.wantsAny(s.plan.convergeNames()...) {
		if err := s.measureConvergence(ctx); err != nil {
			return err
		}
	}
	if s.wantsAny(s.plan.isolationNames()...) {
		if err := s.within(ctx, isolationGroup, s.measureIsolation); err != nil {
			return fmt.Errorf("%s: %w", isolationGroup, err)
		}
	}
	if s.wantsAny(s.plan.admissionNames()...) {
		if err := s.within(ctx, "admission", s.measureAdmission); err != nil {
			return fmt.Errorf("admission: %w", err)
		}
	}
	if s.wantsAny(s.plan.largeNames()...) {
		if err := s.within(ctx, "large", s.measureLarge); err != nil {
			return fmt.Errorf("large: %w", err)
		}
	}
	return nil
}

// lastPopulation is the index of the largest population that a selected benchmark needs, or -1.
func (s *suite) lastPopulation() int {
	for i := len(s.plan.populations) - 1; i >= 0; i-- {
		if s.wantsAny(s.plan.populationNames(s.plan.populations[i])...) {
			return i
		}
	}
	return -1
}

// within gives a group of benchmarks an environment of its own, whatever happens in it.
func (s *suite) within(ctx context.Context, group string, measure func(context.Context, *environment) error) (err error) {
	s.progress.group = group
	e, err := startEnvironment(ctx, s, group)
	if err != nil {
		return err
	}
	defer func() {
		s.progress.say("stopping")
		err = errors.Join(err, e.stop())
	}()
	s.report.apiServer = e.version
	return measure(ctx, e)
}

// measureDirectory fills one App and measures it at each population on the way.
func (s *suite) measureDirectory(ctx context.Context, e *environment, populations []int) error {
	pop := &population{}
	var passes []time.Duration
	for _, size := range populations {
		if err := s.grow(ctx, e, pop, size); err != nil {
			return fmt.Errorf("filling the App with %d users: %w", size, err)
		}
		if size == populations[0] {
			if err := s.measureReads(ctx, e, pop); err != nil {
				return err
			}
		}
		if s.wants(benchmarkDeactivate(size)) {
			if err := s.measureDeactivation(ctx, e, pop, size); err != nil {
				return err
			}
		}
		// Last, when the controller has long ended what the many creates gave it to do.
		if s.wants(benchmarkPage(size)) {
			pass, err := s.measurePaging(ctx, e, size)
			if err != nil {
				return err
			}
			passes = append(passes, pass)
		}
		s.report.memory(e, fmt.Sprintf("%d users", size))
	}
	if len(passes) == len(s.plan.populations) {
		s.report.growth(s.plan.populations, passes)
	}
	return nil
}
