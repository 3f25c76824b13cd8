package main

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
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
	p := startOperator(t, name, func(args ...string) *exec.Cmd { return unjailed(t.Context(), root, args...) }, "--kubeconfig", kubeconfig)
	select {
	case <-asked:
	case <-time.After(time.Minute):
		t.Fatal("it asks nothing")
	}
	time.Sleep(500 * time.Millisecond)
	took, _ := p.end(t) // however it ends
	return took
}
