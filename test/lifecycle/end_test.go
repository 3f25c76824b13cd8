package lifecycle_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/scim-operator/scim-operator/test/okta/harness"
)

// shutdownDelay is longer than the clients below need to hear of the end.
const shutdownDelay = 6 * time.Second

// keeper is a client that keeps one connection, and goes to another server when it is asked to close it.
type keeper struct {
	client  *http.Client
	servers []string
	token   string
	moved   bool
}

// ask sends one request, and fails on anything that is not an answer of a server that serves.
func (k *keeper) ask(ctx context.Context) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, k.servers[0]+"/scim/v2/Users/.search",
		strings.NewReader(`{"schemas":["urn:ietf:params:scim:api:messages:2.0:SearchRequest"],"count":1}`))
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Bearer "+k.token)
	request.Header.Set("Content-Type", "application/scim+json")
	request.GetBody = nil // a POST that met a closed connection is not sent again behind our back
	response, err := k.client.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return errors.New(response.Status)
	}
	if response.Close && !k.moved {
		k.servers, k.moved = k.servers[1:], true
	}
	return nil
}

// A server that is told to end is not ready at once, serves on, and asks each client to make its next connection elsewhere:
// no request fails, on old connections and new ones, busy ones and idle ones.
func TestServerEndsUnnoticed(t *testing.T) {
	leaving, err := operator.RunServerWith(t.Context(), "--shutdown-delay="+shutdownDelay.String())
	if err != nil {
		t.Fatal(err)
	}
	app := newApp(t, time.Second)
	operator.Opens(t, leaving, app)
	ctx, stop := context.WithCancel(t.Context())
	var answers, failures, moved atomic.Int64
	var wait sync.WaitGroup
	for worker := range 16 {
		k := &keeper{client: &http.Client{Transport: &http.Transport{}}, servers: []string{leaving.URL, operator.Server.URL}, token: app.Token}
		wait.Go(func() {
			defer k.client.CloseIdleConnections()
			for ctx.Err() == nil {
				if err := k.ask(t.Context()); err != nil {
					failures.Add(1)
					t.Errorf("client %d: %v", worker, err)
				}
				answers.Add(1)
				// Some are busy all the time, some leave their connection idle for a while.
				time.Sleep(time.Duration(worker%4) * 150 * time.Millisecond)
			}
			if k.moved {
				moved.Add(1)
			}
		})
	}
	time.Sleep(500 * time.Millisecond)
	begun := time.Now()
	if err := syscall.Kill(leaving.Pid(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	harness.Eventually(t, patience, "a server that is not ready", func(ctx context.Context) error {
		if leaving.Ready(ctx) == nil {
			return errors.New("it is ready")
		}
		return nil
	})
	if status := statusOf(t, leaving, "/healthz"); status != http.StatusOK {
		t.Errorf("while it ends /healthz answers %d", status)
	}
	newcomer := &keeper{client: &http.Client{Transport: &http.Transport{}}, servers: []string{leaving.URL, operator.Server.URL}, token: app.Token}
	if err := newcomer.ask(t.Context()); err != nil || !newcomer.moved {
		t.Errorf("a new connection during the delay: error %v, asked to close %t", err, newcomer.moved)
	}
	select {
	case <-leaving.Done():
	case <-time.After(patience):
		t.Fatal("it does not end")
	}
	took := time.Since(begun)
	time.Sleep(300 * time.Millisecond)
	stop()
	wait.Wait()
	if err := leaving.Wait(); err != nil || took < shutdownDelay {
		t.Errorf("it ended after %s: %v", took, err)
	}
	if moved.Load() != 16 {
		t.Errorf("%d of 16 clients were asked to close their connection", moved.Load())
	}
	t.Logf("%d requests, %d failed, the server ended after %s", answers.Load(), failures.Load(), took.Round(time.Millisecond))
}

// A second signal ends the process before its delay is over.
func TestSecondSignalEndsAtOnce(t *testing.T) {
	leaving, err := operator.RunServerWith(t.Context(), "--shutdown-delay=5m")
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := syscall.Kill(leaving.Pid(), syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		// Two signals that a process has not taken yet are one.
		harness.Eventually(t, patience, "a server that was told", func(ctx context.Context) error {
			if leaving.Ready(ctx) == nil {
				return errors.New("it is ready")
			}
			return nil
		})
	}
	select {
	case <-leaving.Done():
	case <-time.After(patience):
		t.Fatal("it goes on after two signals")
	}
	if exit := (*exec.ExitError)(nil); !errors.As(leaving.Wait(), &exit) {
		t.Errorf("it ended with %v", leaving.Wait())
	}
}

// A leader that ends in order gives its Lease back: the next one leads without waiting for it to run out.
func TestControllerGivesItsLeaseBack(t *testing.T) {
	candidates := elect(t)
	app := newApp(t, 0)
	scim := operator.Client(operator.Server, "/scim/v2", app, oktaDialect)
	for i, leader := range candidates {
		person := newPerson("early")
		if _, err := scim.AssignUser(t.Context(), person); err != nil {
			t.Fatal(err)
		}
		operator.AccessSoon(t, app.Subject(person.Profile.UserName), harness.Everywhere(harness.Viewer))
		if i == len(candidates)-1 {
			return
		}
		begun := time.Now()
		if err := leader.Stop(); err != nil {
			t.Fatal(err)
		}
		if err := leader.Wait(); err != nil {
			t.Errorf("the leader ended with %v", err)
		}
		if _, err := scim.Deactivate(t.Context(), person); err != nil {
			t.Fatal(err)
		}
		accessGone(t, app.Subject(person.Profile.UserName))
		t.Logf("access of a leaver was gone %s after the leader was told to end", time.Since(begun).Round(time.Millisecond))
	}
}
