// Package process starts and stops the child processes of development and of the
// black-box tests: etcd, kube-apiserver, and the operator's own server and controller.
//
// It knows nothing of what it runs. hack/controlplane and hack/localoperator build on it.
package process

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// Options describe one child process.
type Options struct {
	// Name is what errors call the process.
	Name string
	// Path is the executable.
	Path string
	Args []string
	// Env is added to the environment of the caller.
	Env []string
	// Log receives standard output and standard error; nil discards them.
	Log io.Writer
}

// Process is a running, or ended, child.
type Process struct {
	name string
	cmd  *exec.Cmd
	tail *tailBuffer
	done chan struct{}
	err  error // readable once done is closed
}

// Start runs the process. It is put into a process group of its own, so that a Ctrl-C in the terminal reaches only the
// caller, which then stops its children in the right order. On Linux the child gets SIGTERM when the caller dies without
// having stopped it. It fails where the program cannot be run.
func Start(options Options) (*Process, error) {
	p := &Process{name: options.Name, tail: &tailBuffer{}, done: make(chan struct{})}
	//nolint:noctx // The process outlives the call; Stop ends it, in its turn.
	p.cmd = exec.Command(options.Path, options.Args...)
	p.cmd.Env = append(os.Environ(), options.Env...)
	p.cmd.SysProcAttr = childAttributes()
	output := io.Writer(p.tail)
	if options.Log != nil {
		output = io.MultiWriter(p.tail, options.Log)
	}
	p.cmd.Stdout, p.cmd.Stderr = output, output
	// A grandchild that keeps the pipe open must not make Wait hang.
	p.cmd.WaitDelay = 5 * time.Second

	if err := onStarterThread(p.cmd.Start); err != nil {
		return nil, fmt.Errorf("starting %s: %w", options.Name, err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// Name is the name given at Start.
func (p *Process) Name() string { return p.name }

// Pid is the process id, also after the end.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Wait blocks until the process has ended and returns how it ended, as exec.Cmd.Wait does: nil, an *exec.ExitError, or
// another error.
func (p *Process) Wait() error {
	<-p.done
	return p.err
}

// Tail returns the last lines, at most 8 KiB, of what the process has printed.
func (p *Process) Tail() string { return p.tail.String() }

// ExitError returns an error that tells how the process ended, with its last lines. The last line stands again at the end,
// where a reader looks first. It blocks until the process has ended, and never returns nil.
func (p *Process) ExitError() error {
	reason := "exit status 0"
	if err := p.Wait(); err != nil {
		reason = err.Error()
	}
	tail := strings.TrimRight(p.Tail(), "\n")
	return fmt.Errorf("%s ended: %s\n%s\n%s: %s", p.name, reason, indent(tail), p.name, tail[strings.LastIndex(tail, "\n")+1:])
}

// Stop sends SIGTERM, and SIGKILL when the process has not ended after grace. It returns
// once the process is gone; an ended process is no error.
func (p *Process) Stop(grace time.Duration) error {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stopping %s: %w", p.name, err)
	}
	select {
	case <-p.done:
		return nil
	case <-time.After(grace):
		return p.Kill()
	}
}

// Kill sends SIGKILL and returns once the process is gone. An ended process is no error.
func (p *Process) Kill() error {
	if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("killing %s: %w", p.name, err)
	}
	<-p.done
	return nil
}

// WaitReady calls probe every 50 ms until it returns nil. It fails when the process ends
// or ctx does; the error then holds the process's last lines and what probe said last.
func (p *Process) WaitReady(ctx context.Context, probe func(context.Context) error) error {
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		probeError := probe(ctx)
		if probeError == nil {
			return nil
		}
		select {
		case <-p.done:
			return p.ExitError()
		case <-ctx.Done():
			return fmt.Errorf("%s printed:\n%s\n%s is not ready: %w (%w)", p.name, indent(p.Tail()), p.name, probeError, ctx.Err())
		case <-ticker.C:
		}
	}
}

func indent(text string) string {
	return "    " + strings.ReplaceAll(strings.TrimRight(text, "\n"), "\n", "\n    ")
}
