package main

import (
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/scim-operator/scim-operator/internal/informers"
)

// What a failing watch means depends on its cause and on how long it lasts: a kind that is missing counts at once, what is refused
// after half a minute, an API server that is away is told apart, and a start that is refused ends before two minutes are over.
func TestWhatFailingWatchesMean(t *testing.T) {
	users := schema.GroupResource{Group: "scim-operator.io", Resource: "users"}
	forbidden := apierrors.NewForbidden(users, "", errors.New("no right to list"))
	missing := apierrors.NewNotFound(users, "")
	away := &url.Error{Op: "Get", URL: "https://api", Err: errors.New("connection refused")}
	for title, test := range map[string]struct {
		cause error
		since time.Duration
		// what the three say; "" for nothing.
		watch, cutOff, start, stalled string
	}{
		"refused a moment ago":         {cause: forbidden, since: 25 * time.Second},
		"refused for half a minute":    {cause: forbidden, since: 35 * time.Second, watch: "User cannot be read for 35s: "},
		"refused for most of a start":  {cause: forbidden, since: 95 * time.Second, watch: "User cannot be read for 1m35s: "},
		"refused for two minutes":      {cause: forbidden, since: 110 * time.Second, watch: "no right to list", start: "cannot read User, for 1m50s: "},
		"missing since a moment":       {cause: missing, since: time.Second, watch: "the API server does not know User", stalled: "not found"},
		"missing for long":             {cause: missing, since: time.Hour, watch: "install its CRD", stalled: "not found"},
		"away for a moment":            {cause: away, since: 25 * time.Second, stalled: "connection refused"},
		"away for half a minute":       {cause: away, since: 35 * time.Second, cutOff: "the API server does not answer for 35s: ", stalled: "connection refused"},
		"away for longer than a start": {cause: away, since: time.Hour, cutOff: "connection refused", stalled: "connection refused"},
	} {
		t.Run(title, func(t *testing.T) {
			failures := []informers.Failure{{Kind: "User", Since: time.Now().Add(-test.since), Err: test.cause}}
			stalled, start := startError(failures)
			for what, got := range map[string]struct {
				err  error
				want string
			}{
				"watchError": {watchError(failures), test.watch}, "cutOffError": {cutOffError(failures), test.cutOff},
				"startError": {start, test.start}, "what a start waits for": {stalled, test.stalled},
			} {
				if (got.err != nil) != (got.want != "") || got.err != nil && !strings.Contains(got.err.Error(), got.want) {
					t.Errorf("%s says %v, want %q", what, got.err, got.want)
				}
			}
		})
	}
	if startDeadline >= 2*time.Minute {
		t.Errorf("a start that is refused goes on for %s", startDeadline)
	}
	if err := errors.Join(watchError(nil), cutOffError(nil)); err != nil {
		t.Error(err)
	}
}
