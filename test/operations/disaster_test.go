package operations_test

import (
	"context"
	"fmt"
	"net/http"
	"syscall"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/hack/localoperator"
	okta "github.com/scim-operator/scim-operator/test/okta/client"
	"github.com/scim-operator/scim-operator/test/okta/harness"
)

// answerLimit is the server's own bound of a request, and time on a busy machine.
const answerLimit = 55 * time.Second

// disaster is a cluster with a leader, an App, a user with access and one that leaves during the disaster.
type disaster struct {
	scim          *okta.Client
	app           harness.App
	leader        *localoperator.Process
	stays, leaver *okta.Assignment
	begun         time.Time
}

func newDisaster(t *testing.T, name string) *disaster {
	t.Helper()
	operator.ShowOnFailure(t)
	must(t, operator.Controller.Stop()) // it leads without a Lease
	t.Cleanup(func() {
		controller, err := operator.RunController(context.WithoutCancel(t.Context()))
		must(t, err)
		operator.Controller = controller
	})
	d := &disaster{stays: person(name + ".stays"), leaver: person(name + ".leaver")}
	var err error
	d.leader, err = operator.RunCandidate(t.Context())
	must(t, err)
	harness.StopAtEnd(t, d.leader)
	d.app = operator.NewApp(t, operator.Server, operator.Env.Namespace(t, nil), name, func(spec *v1alpha1.AppSpec) {
		spec.Deactivation.ConfirmWithin = &metav1.Duration{Duration: time.Second}
	})
	d.scim = operator.Client(operator.Server, "/scim/v2", d.app, okta.Template)
	for _, one := range []*okta.Assignment{d.stays, d.leaver} {
		_, err := d.scim.AssignUser(t.Context(), one)
		must(t, err)
		operator.AccessSoon(t, d.app.Subject(one.Profile.UserName), harness.Everywhere(harness.Viewer))
	}
	d.begun = time.Now()
	return d
}

// deactivate sends what Okta sends for the leaver.
func (d *disaster) deactivate(t *testing.T) *okta.Exchange {
	t.Helper()
	body := []byte(`{"schemas":["` + okta.SchemaPatchOp + `"],"Operations":[{"op":"replace","value":{"active":false}}]}`)
	begun := time.Now()
	answer, err := d.scim.Do(t.Context(), http.MethodPatch, "/Users/"+d.leaver.ID, body)
	must(t, err)
	if took := time.Since(begun); took > answerLimit {
		t.Errorf("the deactivation was answered after %s", took)
	}
	return answer
}

// read asks for the user that stays.
func (d *disaster) read(t *testing.T) *okta.Exchange {
	t.Helper()
	answer, err := d.scim.Do(t.Context(), http.MethodGet, "/Users/"+d.stays.ID, nil)
	must(t, err)
	return answer
}

// refused expects 429 with whole seconds to wait.
func refused(t *testing.T, what string, answer *okta.Exchange) {
	t.Helper()
	if err := answer.ExpectError(http.StatusTooManyRequests, ""); err != nil || answer.RetryAfter() <= 0 {
		t.Errorf("%s: %v, Retry-After %v", what, err, answer.RetryAfter())
	}
}

// over repeats the deactivation as Okta does, until it is answered 200, and checks that the leaver has no access, that the other one has
// it, that a new user gets it, and that neither process ended.
func (d *disaster) over(t *testing.T) {
	t.Helper()
	t.Logf("the disaster took %s", time.Since(d.begun).Round(100*time.Millisecond))
	ended := time.Now()
	harness.Eventually(t, patience, "a deactivation", func(context.Context) error {
		return d.deactivate(t).ExpectUser()
	})
	operator.AccessSoon(t, d.app.Subject(d.leaver.Profile.UserName), harness.Nowhere())
	t.Logf("the leaver's access was gone %s after the disaster", time.Since(ended).Round(100*time.Millisecond))
	operator.AccessNow(t, d.app.Subject(d.stays.Profile.UserName), harness.Everywhere(harness.Viewer))
	d.scim.Retries = 20
	after := person(d.app.Name + ".after")
	_, err := d.scim.AssignUser(t.Context(), after)
	must(t, err)
	operator.AccessSoon(t, d.app.Subject(after.Profile.UserName), harness.Everywhere(harness.Viewer))
	for _, process := range []*localoperator.Process{operator.Server, d.leader} {
		select {
		case <-process.Done():
			t.Errorf("the %s ended: %v", process.Name(), process.ExitError())
		default:
		}
		harness.Eventually(t, patience, process.Name()+" is ready", process.Ready)
	}
}

// etcd is full, for longer than a leader keeps its Lease without renewal: reads are answered, writes 429; access is as it was.
func TestEtcdIsFullForLong(t *testing.T) {
	d := newDisaster(t, "full")
	room := operator.Alarm(t, "NOSPACE")
	for time.Since(d.begun) < 40*time.Second {
		must(t, d.read(t).ExpectUser())
		refused(t, "a deactivation while etcd is full", d.deactivate(t))
		time.Sleep(2 * time.Second)
	}
	if operator.Server.Ready(t.Context()) != nil {
		t.Error("the server left its Service")
	}
	operator.AccessNow(t, d.app.Subject(d.stays.Profile.UserName), harness.Everywhere(harness.Viewer))
	room()
	d.over(t)
}

// etcd found its data corrupt, and serves nothing: the server answers 429, and the processes wait.
func TestEtcdIsCorrupt(t *testing.T) {
	d := newDisaster(t, "corrupt")
	mended := operator.Alarm(t, "CORRUPT")
	for time.Since(d.begun) < 20*time.Second {
		refused(t, "a deactivation while etcd is corrupt", d.deactivate(t))
		time.Sleep(2 * time.Second)
	}
	mended()
	d.over(t)
}

// etcd does not answer at all for a while, as on a disk that hangs.
func TestEtcdHangs(t *testing.T) {
	d := newDisaster(t, "hangs")
	pid := operator.Env.ControlPlane.EtcdPid()
	must(t, syscall.Kill(pid, syscall.SIGSTOP))
	goOn := func() { must(t, syscall.Kill(pid, syscall.SIGCONT)) }
	t.Cleanup(goOn)
	refused(t, "a deactivation while etcd hangs", d.deactivate(t))
	goOn()
	d.over(t)
}

// etcd is slow: it runs a fifth of the time. What is answered is right, the rest is 429.
func TestEtcdIsSlow(t *testing.T) {
	d := newDisaster(t, "slow")
	pid := operator.Env.ControlPlane.EtcdPid()
	ctx, stop := context.WithCancel(t.Context())
	stopped := make(chan error, 1)
	go func() { stopped <- slowDown(ctx, pid) }()
	answered, busy, slowest := 0, 0, time.Duration(0)
	for i := 0; time.Since(d.begun) < 30*time.Second; i++ {
		begun := time.Now()
		one := person(fmt.Sprintf("slow.%d", i))
		body := fmt.Appendf(nil, `{"schemas":[%q],"userName":%q}`, okta.SchemaUser, one.Profile.UserName)
		answer, err := d.scim.Do(t.Context(), http.MethodPost, "/Users", body)
		must(t, err)
		slowest = max(slowest, time.Since(begun))
		if answer.Status == http.StatusCreated {
			answered++
		} else {
			refused(t, "a create while etcd is slow", answer)
			busy++
		}
	}
	stop()
	must(t, <-stopped)
	t.Logf("%d creates, %d answers 429, the slowest answer after %s", answered, busy, slowest.Round(time.Millisecond))
	if answered == 0 || slowest > answerLimit {
		t.Errorf("%d creates, the slowest answer after %s", answered, slowest)
	}
	d.over(t)
}

// slowDown lets a process run 50 ms of 250 until ctx ends.
func slowDown(ctx context.Context, pid int) error {
	for ctx.Err() == nil {
		if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
			return err
		}
		time.Sleep(200 * time.Millisecond)
		if err := syscall.Kill(pid, syscall.SIGCONT); err != nil {
			return err
		}
		time.Sleep(50 * time.Millisecond)
	}
	return nil
}
