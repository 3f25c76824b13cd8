package localoperator_test

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/scim-operator/scim-operator/hack/localoperator"
	"github.com/scim-operator/scim-operator/hack/process"
)

// standInVariable makes this test's own binary take the operator's command line: what is
// tested here is how processes are run, not what the operator does.
const standInVariable = "STACK_TEST_STAND_IN"

func TestMain(m *testing.M) {
	if os.Getenv(standInVariable) != "" {
		os.Exit(standIn(os.Args[1:]))
	}
	os.Exit(m.Run())
}

// standIn serves /readyz, and the command line at /, until it is ended.
func standIn(args []string) int {
	flags := flag.NewFlagSet(args[0], flag.ExitOnError)
	health := flags.String("health-listen", "", "")
	for _, name := range []string{"kubeconfig", "listen", "metrics-listen", "leader-elect-namespace", "external-url", "shutdown-delay"} {
		flags.String(name, "", "")
	}
	flags.Bool("leader-elect", false, "")
	fail := flags.Bool("fail", false, "")
	_ = flags.Parse(args[1:])
	if *fail {
		fmt.Fprintln(os.Stderr, "failing as asked")
		return 1
	}
	fmt.Println("standing in")
	http.HandleFunc("/readyz", func(http.ResponseWriter, *http.Request) {})
	http.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprint(w, strings.Join(args, " ")) })
	fmt.Fprintln(os.Stderr, http.ListenAndServe(*health, nil))
	return 1
}

func standInOptions(t *testing.T) localoperator.ProcessOptions {
	t.Helper()
	binary, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return localoperator.ProcessOptions{Binary: binary, Kubeconfig: "some/kubeconfig", Env: []string{standInVariable + "=1"}}
}

func commandLine(t *testing.T, p *localoperator.Process) string {
	t.Helper()
	response, err := http.Get(p.HealthURL)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func TestServerCommandLineAndEnd(t *testing.T) {
	var log bytes.Buffer
	options := standInOptions(t)
	options.Log, options.Args = &log, []string{"--external-url=https://scim.example.com"}
	p, err := localoperator.StartServer(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("server --listen=%s --shutdown-delay=0s --kubeconfig=some/kubeconfig --health-listen=%s --metrics-listen=%s --external-url=https://scim.example.com",
		address(p.URL), address(p.HealthURL), address(p.MetricsURL))
	if got := commandLine(t, p); got != want {
		t.Errorf("command line %q, want %q", got, want)
	}
	if err := p.Stop(); err != nil {
		t.Fatal(err)
	}
	if !process.IsFree(address(p.HealthURL)) {
		t.Error("still listening after Stop")
	}
	if !strings.Contains(log.String(), "standing in") {
		t.Errorf("log %q", &log)
	}
}

func TestControllerCommandLine(t *testing.T) {
	for elect, part := range map[bool]string{
		false: "controller --leader-elect=false --kubeconfig",
		true:  "controller --leader-elect=true --leader-elect-namespace=scim-operator-system --kubeconfig",
	} {
		options := standInOptions(t)
		options.LeaderElect = elect
		p, err := localoperator.StartController(t.Context(), options)
		if err != nil {
			t.Fatal(err)
		}
		if got := commandLine(t, p); !strings.HasPrefix(got, part) {
			t.Errorf("command line %q, want one that begins %q", got, part)
		}
		if err := p.Kill(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestStartTellsWhyTheProcessEnded(t *testing.T) {
	options := standInOptions(t)
	options.Args = []string{"--fail"}
	if _, err := localoperator.StartServer(t.Context(), options); err == nil || !strings.Contains(err.Error(), "failing as asked") {
		t.Errorf("error %v, want the process's last words", err)
	}
}

func TestStartTellsOfATakenPort(t *testing.T) {
	options := standInOptions(t)
	first, err := localoperator.StartController(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = first.Kill() }()
	options.HealthListen = address(first.HealthURL)
	if _, err := localoperator.StartController(t.Context(), options); err == nil || !strings.Contains(err.Error(), "address already in use") {
		t.Errorf("error %v on a fixed port that is taken, want one that says so", err)
	}
}

func address(url string) string { return strings.TrimPrefix(url, "http://") }
