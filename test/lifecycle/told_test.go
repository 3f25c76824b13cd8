package lifecycle_test

import (
	"context"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/scim-operator/scim-operator/hack/localoperator"
	"github.com/scim-operator/scim-operator/test/okta/harness"
)

// A server tells at its start that clients choose what meta.location begins with, unless it is told the URL.
func TestServerWithoutAnExternalURLSaysSo(t *testing.T) {
	for _, test := range []struct {
		args  []string
		tells bool
	}{{nil, true}, {[]string{"--external-url=https://scim.example.com"}, false}} {
		t.Run(fmt.Sprint(test.args), func(t *testing.T) {
			server, err := operator.RunServerWith(t.Context(), test.args...)
			if err != nil {
				t.Fatal(err)
			}
			harness.StopAtEnd(t, server)
			const line = "No external URL is set: meta.location begins with each request's Host header"
			if got := strings.Count(server.Tail(), line); got > 1 || got == 1 != test.tells {
				t.Errorf("it says so %d times:\n%s", got, server.Tail())
			}
		})
	}
}

// A controller that may not read what it needs has informers that never are in sync. It ends at once when it is told to.
func TestControllerThatCannotSyncEndsWhenTold(t *testing.T) {
	told, err := operator.BeginRefusedController(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = told.Kill() })
	harness.Eventually(t, patience, "the cause in /readyz", func(ctx context.Context) error { return says(ctx, told, "the caches are not filled yet") })
	endsWhenTold(t, told)
}

// endsWhenTold has a process wait a little longer for what it cannot have, and end.
func endsWhenTold(t *testing.T, told *localoperator.Process) {
	t.Helper()
	time.Sleep(2 * time.Second)
	begun := time.Now()
	if err := syscall.Kill(told.Pid(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case <-told.Done():
		t.Logf("it ended after %s", time.Since(begun).Round(time.Millisecond))
	case <-time.After(toldLimit):
		_ = told.Kill()
		t.Error("it goes on after SIGTERM")
	}
}
