package faults_test

import (
	"bufio"
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/hack/localoperator"
	"github.com/scim-operator/scim-operator/test/okta/harness"
)

const (
	leaseName = "scim-operator-controller"
	// succession bounds how long it may take until a candidate leads: a Lease of 4 seconds, and the start of a process.
	succession = 90 * time.Second
)

// candidates are the controllers, in place of the one that the other tests use.
type candidates struct {
	mu        sync.Mutex
	processes []*localoperator.Process
}

// elect stops the controller that elects no leader and starts two that do. At the end of the test it is the other way round.
func elect(t *testing.T) *candidates {
	t.Helper()
	if err := operator.Controller.Stop(); err != nil {
		t.Fatal(err)
	}
	c := &candidates{}
	t.Cleanup(func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, process := range c.processes {
			if err := process.Stop(); err != nil {
				t.Error(err)
			}
		}
		// The context of a test ends before its cleanup.
		controller, err := operator.RunController(context.WithoutCancel(t.Context()))
		if err != nil {
			t.Error(err)
			return
		}
		operator.Controller = controller
	})
	for range 2 {
		if err := c.stand(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// stand starts one more candidate.
func (c *candidates) stand(ctx context.Context) error {
	process, err := operator.RunCandidate(ctx)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.processes = append(c.processes, process)
	return nil
}

// killAgainAndAgain kills whichever leads, each some time after the beginning of its reign. One more is paused before, if asked
// for, goes on in the reign of its successor, and stands again.
func (c *candidates) killAgainAndAgain(chaos *chaos, kills int, pauses bool) {
	t := chaos.t
	if pauses {
		c.pause(chaos)
	}
	for range kills {
		chaos.note("%d leads", c.awaitLeader(t).Pid())
		// Some reigns end while the leader still evaluates all users for the first time.
		pause(t.Context(), between(chaos.random, 100*time.Millisecond, 2*time.Second))
		c.kill(chaos)
	}
	// The last one leads for a while, and is not helped by a successor's fresh look at everything.
	chaos.note("%d leads", c.awaitLeader(t).Pid())
	pause(t.Context(), between(chaos.random, time.Second, 3*time.Second))
}

// kill kills the leader and has another candidate stand. The Lease is given back in the dead leader's name, as if there had been
// the time: the successor leads at once.
func (c *candidates) kill(chaos *chaos) {
	t := chaos.t
	leader := c.awaitLeader(t)
	holder := leaseHolder(t)
	if err := leader.Kill(); err != nil {
		t.Fatal(err)
	}
	chaos.count("leader killed")
	chaos.note("%d was killed", leader.Pid())
	c.remove(leader)
	successor := make(chan error, 1)
	go func() { successor <- c.stand(t.Context()) }()
	giveBack(t, holder)
	if err := <-successor; err != nil {
		t.Fatal(err)
	}
}

// pause stops the leader as it is, in the midst of whatever it does, lets its Lease run out, and has it go on some time after
// another one leads. It finds out by itself that it leads no more, and stands by again in the same process.
func (c *candidates) pause(chaos *chaos) {
	t := chaos.t
	leader := c.awaitLeader(t)
	pause(t.Context(), between(chaos.random, 100*time.Millisecond, 2*time.Second))
	if err := syscall.Kill(leader.Pid(), syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	chaos.note("%d was paused", leader.Pid())
	// A process that is stopped does not end when it is asked to.
	t.Cleanup(func() { _ = leader.Kill() })
	c.remove(leader)
	if err := c.stand(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.awaitLeader(t)
	pause(t.Context(), between(chaos.random, 0, 2*time.Second))
	if err := syscall.Kill(leader.Pid(), syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	chaos.count("leader paused")
	chaos.note("%d goes on", leader.Pid())
	harness.Eventually(t, succession, "the end of a term that ended while its leader was paused", func(ctx context.Context) error {
		if leads(ctx, leader) {
			return errors.New("it still says that it leads")
		}
		return nil
	})
	harness.Eventually(t, succession, "a paused leader that stands by again", func(ctx context.Context) error {
		select {
		case <-leader.Done():
			t.Fatalf("it has ended: %v", leader.ExitError())
		default:
		}
		return leader.Ready(ctx)
	})
	c.mu.Lock()
	defer c.mu.Unlock()
	c.processes = append(c.processes, leader)
}

func (c *candidates) remove(process *localoperator.Process) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range c.processes {
		if c.processes[i] == process {
			c.processes = append(c.processes[:i], c.processes[i+1:]...)
			return
		}
	}
}

// awaitLeader returns the candidate that leads, as its metrics say.
func (c *candidates) awaitLeader(t *testing.T) *localoperator.Process {
	t.Helper()
	var leader *localoperator.Process
	harness.Eventually(t, succession, "a leader", func(ctx context.Context) error {
		c.mu.Lock()
		processes := append([]*localoperator.Process(nil), c.processes...)
		c.mu.Unlock()
		for _, process := range processes {
			select {
			case <-process.Done():
				t.Fatalf("a controller has ended without being killed: %v", process.ExitError())
			default:
			}
			if leads(ctx, process) {
				leader = process
				return nil
			}
		}
		return errors.New("no controller leads")
	})
	return leader
}

func leads(ctx context.Context, process *localoperator.Process) bool {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, process.MetricsURL+"/metrics", nil)
	if err != nil {
		return false
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return false
	}
	defer func() { _ = answer.Body.Close() }()
	for lines := bufio.NewScanner(answer.Body); lines.Scan(); {
		if line := lines.Text(); strings.HasPrefix(line, "leader_election_master_status{") {
			return strings.HasSuffix(line, " 1")
		}
	}
	return false
}

func leaseHolder(t *testing.T) string {
	t.Helper()
	lease := &coordinationv1.Lease{}
	if err := operator.Env.Client.Get(t.Context(), client.ObjectKey{Namespace: localoperator.Namespace, Name: leaseName}, lease); err != nil {
		t.Fatal(err)
	}
	if lease.Spec.HolderIdentity == nil {
		return ""
	}
	return *lease.Spec.HolderIdentity
}

// giveBack does what a leader does that ends in good order, for one that cannot do so any more.
func giveBack(t *testing.T, holder string) {
	t.Helper()
	harness.Eventually(t, recovery, "the Lease given back", func(ctx context.Context) error {
		lease := &coordinationv1.Lease{}
		if err := operator.Env.Client.Get(ctx, client.ObjectKey{Namespace: localoperator.Namespace, Name: leaseName}, lease); err != nil {
			return err
		}
		if lease.Spec.HolderIdentity == nil || *lease.Spec.HolderIdentity != holder {
			return nil
		}
		nobody, second := "", int32(1)
		lease.Spec.HolderIdentity, lease.Spec.LeaseDurationSeconds = &nobody, &second
		return operator.Env.Client.Update(ctx, lease)
	})
}
