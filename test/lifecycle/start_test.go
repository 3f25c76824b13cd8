package lifecycle_test

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/scim-operator/scim-operator/hack/localoperator"
	"github.com/scim-operator/scim-operator/hack/process"
	okta "github.com/scim-operator/scim-operator/test/okta/client"
	"github.com/scim-operator/scim-operator/test/okta/harness"
)

const oktaDialect = okta.Template

// Processes that start while no API server answers wait for it, and serve soon after it is back; those that run outlast it.
// The server's clients are told to come again.
func TestAPIServerAway(t *testing.T) {
	app := newApp(t, 0)
	scim := operator.Client(operator.Server, "/scim/v2", app, oktaDialect)
	leaver := newPerson("leaver")
	if _, err := scim.AssignUser(t.Context(), leaver); err != nil {
		t.Fatal(err)
	}
	operator.AccessSoon(t, app.Subject(leaver.Profile.UserName), harness.Everywhere(harness.Viewer))
	if err := operator.Env.ControlPlane.KillAPIServer(); err != nil {
		t.Fatal(err)
	}
	address, err := process.FreeAddress()
	if err != nil {
		t.Fatal(err)
	}
	type started struct {
		process *localoperator.Process
		err     error
		at      time.Time
	}
	servers, candidates := make(chan started, 1), make(chan started, 1)
	go func() {
		p, err := operator.RunServer(t.Context(), address)
		servers <- started{p, err, time.Now()}
	}()
	go func() {
		p, err := operator.RunCandidate(t.Context())
		candidates <- started{p, err, time.Now()}
	}()
	harness.Eventually(t, patience, "429 of a server that starts", func(ctx context.Context) error { return saysTryAgain(ctx, "http://"+address) })
	time.Sleep(40 * time.Second) // by now a reflector of client-go waits for half a minute
	harness.Eventually(t, patience, "429 of a server that runs", func(ctx context.Context) error { return saysTryAgain(ctx, operator.Server.URL) })
	for _, running := range []*localoperator.Process{operator.Server, operator.Controller} {
		select {
		case <-running.Done():
			t.Fatalf("%v", running.ExitError())
		default:
		}
	}
	if statusOf(t, operator.Server, "/readyz") != http.StatusOK {
		t.Error("a server that ran before is taken out of its Service: its clients would meet no server instead of 429")
	}

	if err := operator.Env.ControlPlane.StartAPIServer(t.Context()); err != nil {
		t.Fatal(err)
	}
	back := time.Now()
	if err := persistently(t.Context(), func() error { _, err := scim.Deactivate(t.Context(), leaver); return err }); err != nil {
		t.Fatal(err)
	}
	answered := time.Since(back)
	accessGone(t, app.Subject(leaver.Profile.UserName))
	gone := time.Since(back)
	server, candidate := <-servers, <-candidates
	for _, s := range []started{server, candidate} {
		if s.err != nil {
			t.Fatal(s.err)
		}
		harness.StopAtEnd(t, s.process)
	}
	t.Logf("after the API server was back: a deactivation was answered after %s and took effect after %s; new processes were ready after %s (server) and %s (controller)",
		answered.Round(time.Millisecond), gone.Round(time.Millisecond), server.at.Sub(back).Round(time.Millisecond), candidate.at.Sub(back).Round(time.Millisecond))
	if err := operator.Env.AwaitPolicies(t.Context()); err != nil {
		t.Error(err)
	}
}

// saysTryAgain returns nil where a request without a token is answered 429, in whole seconds, by SCIM's own document.
func saysTryAgain(ctx context.Context, url string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/scim/v2/Users", nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	seconds, err := strconv.Atoi(response.Header.Get("Retry-After"))
	if response.StatusCode != http.StatusTooManyRequests || err != nil || seconds < 1 || !strings.HasPrefix(response.Header.Get("Content-Type"), "application/scim+json") {
		return errors.New(response.Status)
	}
	return nil
}
