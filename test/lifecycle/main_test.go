// Package lifecycle_test starts and ends the processes as a cluster does, with an API server that is away, leaders that are
// killed and clients that keep their connections, and measures what a client sees of it.
package lifecycle_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/hack/localoperator"
	okta "github.com/scim-operator/scim-operator/test/okta/client"
	"github.com/scim-operator/scim-operator/test/okta/harness"
)

// patience bounds what has to happen at all; how long it took is logged.
const patience = time.Minute

// toldLimit bounds the end of a process that is told to, on a busy machine: less than the half a minute, or longer, that what it waits for takes.
const toldLimit = 20 * time.Second

var operator *harness.Harness

func TestMain(m *testing.M) { harness.Main(m, &operator) }

// newApp makes an App with deactivations that wait no longer than confirm for the controller.
func newApp(t *testing.T, confirm time.Duration) harness.App {
	t.Helper()
	operator.ShowOnFailure(t)
	return operator.NewApp(t, operator.Server, operator.Env.Namespace(t, nil), "lifecycle", func(spec *v1alpha1.AppSpec) {
		spec.Deactivation.ConfirmWithin = &metav1.Duration{Duration: confirm}
	})
}

var people atomic.Int64

func newPerson(first string) *okta.Assignment {
	return okta.Assign(okta.NewProfile(fmt.Sprintf("%s.%d@example.com", first, people.Add(1))))
}

// persistently repeats an action until it succeeds.
func persistently(ctx context.Context, action func() error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		err := action()
		if err == nil || ctx.Err() != nil {
			return err
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// accessGone waits until the person's access is gone.
func accessGone(t *testing.T, subject string) {
	t.Helper()
	harness.EventuallyEvery(t, 20*time.Millisecond, patience, "the end of a leaver's access", func(ctx context.Context) error {
		may, err := operator.CanI(ctx, subject, "get", "pods", "team-a")
		if err == nil && may {
			err = errors.New("the leaver may still read pods in team-a")
		}
		return err
	})
}

// elect stops the controller that elects no leader and starts two that do, until the end of the test.
func elect(t *testing.T) []*localoperator.Process {
	t.Helper()
	if err := operator.Controller.Stop(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		controller, err := operator.RunController(context.WithoutCancel(t.Context()))
		if err != nil {
			t.Error(err)
			return
		}
		operator.Controller = controller
	})
	return []*localoperator.Process{stand(t), stand(t)}
}

func stand(t *testing.T) *localoperator.Process {
	t.Helper()
	candidate, err := operator.RunCandidate(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	harness.StopAtEnd(t, candidate)
	return candidate
}

// statusOf asks a path of a process's probes.
func statusOf(t *testing.T, process *localoperator.Process, path string) int {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, process.HealthURL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0
	}
	_ = response.Body.Close()
	return response.StatusCode
}
