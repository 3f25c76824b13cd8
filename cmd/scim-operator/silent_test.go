package main

import (
	"bytes"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/scim-operator/scim-operator/test/testenv"
)

// An API server that takes connections and never answers, as one behind a broken load balancer, keeps no process from ending at
// once when it is told to.
func TestSIGTERMWhileTheAPIServerIsSilent(t *testing.T) {
	root := newJail(t)
	silent, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	asked := make(chan struct{}, 100)
	go func() {
		for {
			connection, err := silent.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { _ = connection.Close() })
			asked <- struct{}{}
		}
	}()
	t.Cleanup(func() { _ = silent.Close() })
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(kubeconfig, []byte(strings.Replace(jailKubeconfig, "127.0.0.1:1", silent.Addr().String(), 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"server", "controller"} {
		t.Run(name, func(t *testing.T) {
			testenv.MostlyWithin(t, "the end after SIGTERM", 2*time.Second, 1, func() time.Duration { return endSilently(t, root, kubeconfig, name, asked) })
		})
	}
}

// endSilently starts a process, ends it by SIGTERM once it asked the API server, and returns how long the end took.
func endSilently(t *testing.T, root, kubeconfig, name string, asked <-chan struct{}) time.Duration {
	t.Helper()
	for len(asked) > 0 { // by one before
		<-asked
	}
	args := []string{name, "--kubeconfig", kubeconfig, "--metrics-listen=127.0.0.1:0", "--health-listen=" + freeAddress(t)}
	if name == "server" {
		args = append(args, "--listen="+freeAddress(t))
	} else {
		args = append(args, "--leader-elect-namespace=default")
	}
	command := unjailed(t.Context(), root, args...)
	var output bytes.Buffer
	command.Stdout, command.Stderr = &output, &output
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- command.Wait() }()
	t.Cleanup(func() { _ = command.Process.Kill() })
	select {
	case <-asked:
	case <-time.After(time.Minute):
		t.Fatal("it asks nothing")
	}
	time.Sleep(500 * time.Millisecond)
	if err := command.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	told := time.Now()
	select {
	case <-ended: //nolint:errcheck // however it ends
	case <-time.After(time.Minute):
		t.Fatalf("it goes on after SIGTERM:\n%s", &output)
	}
	return time.Since(told)
}
