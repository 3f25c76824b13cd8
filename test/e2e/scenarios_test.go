//go:build e2e

package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	okta "github.com/scim-operator/scim-operator/test/okta/client"
	"github.com/scim-operator/scim-operator/test/oracle"
)

const (
	// accessBound is how long access may outlive the answer to a deactivation, also while a leader has to be found. As a
	// rule it is gone before the answer: the table shows the longest.
	accessBound = 5 * time.Second
	// settling bounds the time until access is exactly what follows from the objects.
	settling = 2 * time.Minute
)

// scenario is one thing that happens to the operator while Okta works, or, where it is quiet, while it does not.
type scenario struct {
	name string
	run  func(t *testing.T, e *environment, way installer, tr *traffic)
	// requests is how many are sent at least, divided by the way's share.
	requests int
	quiet    bool
	// cuts says that a process is killed, so that requests which it had taken may fail. None may be lost all the same.
	cuts bool
	// only is the way to install that plays it: most disturbances are about the processes, whatever installed them. Empty: each.
	only string
	// gone says that nothing is there afterwards to be compared.
	gone bool
	// essential scenarios end the run when they fail.
	essential bool
	// lacks says what the cluster cannot do, or "".
	lacks func(e *environment) string
}

var scenarios = []scenario{
	{name: "undisturbed", run: undisturbed, requests: 1000},
	{name: "rolling restart of both", run: restart, requests: 2500},
	{name: "server killed by force", run: forceDelete, requests: 500, cuts: true, only: byKustomize},
	{name: "leader killed", run: killLeader, requests: 500, lacks: needsProcesses, only: byKustomize},
	{name: "scale 2→3→1→2", run: scale, requests: 2500, only: byKustomize},
	{name: "image update", run: update, requests: 2500},
	{name: "earlier version and back", run: downgrade, requests: 500, lacks: needsEarlier, only: byKustomize},
	{name: "token rotated", run: rotate, requests: 500, only: byKustomize},
	{name: "certificate rotated", run: rotateCertificate, requests: 500, only: byKustomize},
	{name: "drain", run: drain, requests: 2500, only: byKustomize},
	{name: "API server away for a minute", run: apiServerAway, requests: 1000, lacks: needsAPIServer, only: byKustomize},
	{name: "NetworkPolicies", run: networkPolicies, requests: 300, only: byKustomize},
	{name: "restore while the operator runs", run: restoreRunning, quiet: true, only: byKustomize},
	{name: "restore, then start the operator", run: restoreStopped, quiet: true, only: byKustomize},
	{name: "after the restores", run: undisturbed, requests: 500, only: byKustomize},
	{name: "undeploy twice, install again", run: undeployTwice, quiet: true, essential: true},
	{name: "uninstall, cut off and run twice", run: uninstallEverything, quiet: true, gone: true},
}

// play runs one scenario, then holds everything against the ledger and the oracle.
func (e *environment) play(t *testing.T, way installer, s scenario) {
	name := way.name + ": " + s.name
	if s.lacks != nil {
		if reason := s.lacks(e); reason != "" {
			e.addRow(reportNote(name, "not run: "+reason))
			t.Skipf("not run: %s", reason)
		}
	}
	m, begun := &meter{}, time.Now()
	defer func() {
		row := m.row(name, time.Since(begun))
		e.addRow(row)
		t.Logf("%s: %d requests, %d of them 429, %d failed, in %s", name, row.Requests, row.TooMany, row.Failed, row.Duration.Round(time.Second))
	}()
	var tr *traffic
	if !s.quiet {
		tr = e.start(t, m)
		defer tr.end()
		tr.await(t, 100)
	}
	s.run(t, e, way, tr)
	if tr != nil {
		tr.await(t, max(1, s.requests/way.share-m.count()))
		tr.end()
	}
	e.judge(t, m, s)
	if !s.gone {
		e.verify(t)
	}
}

// judge fails the scenario for requests that failed.
func (e *environment) judge(t *testing.T, m *meter, s scenario) {
	for _, failure := range m.failures {
		if s.cuts && isCut(failure) {
			t.Logf("cut off by the kill: %s", failure)
			continue
		}
		t.Errorf("failed: %s", failure)
	}
	if m.failed > len(m.failures) {
		t.Errorf("%d more requests failed", m.failed-len(m.failures))
	}
}

// isCut says whether a failure is that of a connection, and not an answer.
func isCut(failure string) bool {
	return strings.Contains(failure, "no answer after") || strings.Contains(failure, "half an answer") || strings.Contains(failure, "a kept connection was closed")
}

// verify holds every replica against the ledger, and the cluster's access against the oracle.
func (e *environment) verify(t *testing.T) {
	t.Helper()
	eventually(t, settling, "a ready server", func(ctx context.Context) error {
		urls, err := e.replicas(ctx)
		if err == nil && len(urls) == 0 {
			err = errors.New("none")
		}
		return err
	})
	urls, err := e.replicas(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	urls["the Service"] = e.url
	for name, url := range urls {
		scim := e.newClient(url, nil)
		users, groups, err := readAll(t.Context(), scim)
		scim.Close()
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if lines := e.ledger.Compare(users, groups); len(lines) > 0 {
			t.Errorf("%s does not show what was acknowledged, %d differences:\n%s", name, len(lines), strings.Join(lines[:min(20, len(lines))], "\n"))
		}
	}
	eventually(t, settling, "exactly the access that follows from the objects", func(ctx context.Context) error {
		cluster, err := oracle.Read(ctx, e.client, directory)
		if err != nil {
			return err
		}
		lines, err := cluster.Differences(nil)
		if err == nil && len(lines) > 0 {
			err = fmt.Errorf("%d differences:\n%s", len(lines), strings.Join(lines[:min(20, len(lines))], "\n"))
		}
		return err
	})
}

func readAll(ctx context.Context, scim *okta.Client) (users, groups []any, err error) {
	if users, _, err = scim.Import(ctx); err != nil {
		return nil, nil, err
	}
	groups, _, err = scim.ImportGroups(ctx)
	return users, groups, err
}
