package process

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

func shell(t *testing.T, script string) *Process {
	t.Helper()
	p, err := Start(Options{Name: "script", Path: "/bin/sh", Args: []string{"-c", script}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Kill() })
	return p
}

// printed waits until the process has printed the text: only then are its traps set.
func printed(t *testing.T, p *Process, text string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := p.WaitReady(ctx, func(context.Context) error {
		if !strings.Contains(p.Tail(), text) {
			return errors.New("not printed: " + text)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

func TestStopAsksFirst(t *testing.T) {
	p := shell(t, `trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.05; done`)
	printed(t, p, "up")
	if err := p.Stop(time.Minute); err != nil {
		t.Fatal(err)
	}
	if err := p.Wait(); err != nil || !strings.Contains(p.Tail(), "bye") {
		t.Errorf("ended with %v and %q, want an orderly end", err, p.Tail())
	}
	if err := p.Stop(time.Second); err != nil {
		t.Errorf("stopping an ended process: %v", err)
	}
}

func TestStopKillsTheDeaf(t *testing.T) {
	p := shell(t, `trap '' TERM; echo up; while :; do sleep 0.05; done`)
	printed(t, p, "up")
	if err := p.Stop(100 * time.Millisecond); err != nil {
		t.Fatal(err)
	}
	if err := p.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Errorf("ended with %v, want killed", err)
	}
}

func TestWaitReadyTellsOfAnEarlyEnd(t *testing.T) {
	p := shell(t, `echo the reason >&2; exit 3`)
	err := p.WaitReady(t.Context(), func(context.Context) error { return errors.New("refused") })
	if err == nil || !strings.Contains(err.Error(), "exit status 3") || !strings.Contains(err.Error(), "the reason") {
		t.Errorf("error %v, want the exit status and the last lines", err)
	}
}

func TestWaitReadyEndsWithItsContext(t *testing.T) {
	p := shell(t, `exec sleep 60`)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	err := p.WaitReady(ctx, func(context.Context) error { return errors.New("refused") })
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "refused") {
		t.Errorf("error %v, want the deadline and the probe's", err)
	}
}

func TestEnvironmentAndGroup(t *testing.T) {
	p, err := Start(Options{Name: "script", Path: "/bin/sh", Args: []string{"-c", `echo "$GREETING $(ps -o pgid= -p $$)"`}, Env: []string{"GREETING=hello"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Wait(); err != nil {
		t.Fatal(err)
	}
	if got, want := strings.Join(strings.Fields(p.Tail()), " "), fmt.Sprintf("hello %d", p.Pid()); got != want {
		t.Errorf("printed %q, want %q: its variable, and a process group of its own", got, want)
	}
}

func TestTailKeepsTheLastWholeLines(t *testing.T) {
	tail := &tailBuffer{}
	for i := range 10_000 {
		fmt.Fprintf(tail, "line %d\n", i)
	}
	got := tail.String()
	if len(got) > tailLimit || !strings.HasSuffix(got, "line 9999\n") || !strings.HasPrefix(got, "line ") {
		t.Errorf("%d bytes from %.20q", len(got), got)
	}
}

func TestFreeAddress(t *testing.T) {
	address, err := FreeAddress()
	if err != nil || !IsFree(address) {
		t.Fatalf("address %q, error %v", address, err)
	}
}
