//go:build e2e

package e2e_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

func needsProcesses(e *environment) string {
	if !e.processes {
		return "the Pods' processes cannot be killed from here"
	}
	return ""
}

func needsAPIServer(e *environment) string {
	if e.stopAPIServer == "" || e.startAPIServer == "" {
		return "the API server cannot be stopped from here"
	}
	return ""
}

// killLeader kills the leading controller's process, three times: no signal that it could answer, no release of the Lease.
func killLeader(t *testing.T, e *environment, _ installer, tr *traffic) {
	for range 3 {
		leader := e.leader(t)
		if err := kill(leader); err != nil {
			t.Fatal(err)
		}
		killed := time.Now()
		eventually(t, time.Minute, "another leader", func(ctx context.Context) error {
			holder, err := e.holder(ctx)
			if err == nil && holder == leader.identity {
				err = errors.New("the killed one still holds the Lease")
			}
			return err
		})
		e.note(t, "another leader after %s", time.Since(killed).Round(100*time.Millisecond))
		tr.await(t, 200)
		e.awaitReplicas(t, "controller", 2)
	}
}

// leading is the controller that leads.
type leading struct {
	identity, pod, uid string
}

// kill ends the operator's process in a Pod of this machine by SIGKILL. The Pod's UID is in the path of its control group, by
// which no other process can be hit.
func kill(victim leading) error {
	const name = "scim-operator"
	paths, err := filepath.Glob("/proc/[0-9]*/cgroup")
	if err != nil {
		return err
	}
	uid := strings.ReplaceAll(victim.uid, "-", "_")
	for _, path := range paths {
		group, err := os.ReadFile(path)
		if err != nil || !bytes.Contains(group, []byte(victim.uid)) && !bytes.Contains(group, []byte(uid)) {
			continue
		}
		command, err := os.ReadFile(filepath.Join(filepath.Dir(path), "comm"))
		if err != nil || strings.TrimSpace(string(command)) != name {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if err != nil {
			return err
		}
		return syscall.Kill(pid, syscall.SIGKILL)
	}
	return fmt.Errorf("no process %s of Pod %s is on this machine", name, victim.pod)
}

// apiServerAway stops the API server for a minute. The server answers 429 meanwhile; both are back soon after it.
func apiServerAway(t *testing.T, e *environment, _ installer, tr *traffic) {
	stopped := make(chan error, 1)
	go func() {
		_, err := e.run(t.Context(), "sh", "-c", e.stopAPIServer)
		stopped <- err
	}()
	eventually(t, time.Minute, "the end of the API server", func(ctx context.Context) error {
		if e.readyz(ctx) == nil {
			return errors.New("it still answers")
		}
		return nil
	})
	gone := time.Now()
	if err := <-stopped; err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Until(gone.Add(time.Minute))) // its process may have taken that long to end, refusing connections meanwhile
	started := make(chan error, 1)
	go func() {
		_, err := e.run(t.Context(), "sh", "-c", e.startAPIServer)
		started <- err
	}()
	eventually(t, 2*time.Minute, "the API server", e.readyz)
	away := time.Since(gone)
	took := eventually(t, 2*time.Minute, "SCIM, after the API server", func(ctx context.Context) error {
		scim := e.newClient(e.url, nil)
		scim.Retries = 0
		defer scim.Close()
		answer, err := scim.Do(ctx, "GET", "/Users?startIndex=1&count=2", nil)
		if err == nil {
			err = answer.ExpectUsers()
		}
		return err
	})
	back := time.Now()
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	e.awaitReplicas(t, "server", 2)
	e.awaitReplicas(t, "controller", 2)
	e.note(t, "it was away for %s; SCIM back %s after it, all Pods Ready %s later", away.Round(time.Second),
		took.Round(100*time.Millisecond), time.Since(back).Round(100*time.Millisecond))
	tr.await(t, 300)
}
