//go:build e2e

package e2e_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/test/e2e/ledger"
	"github.com/scim-operator/scim-operator/test/e2e/report"
)

// Names of what is installed, as config/default has them.
const (
	system     = "scim-operator-system"
	server     = "scim-operator-server"
	controller = "scim-operator-controller"
)

// settings come from the environment; docs/e2e.md explains them.
type settings struct {
	// stopAPIServer and startAPIServer are commands; empty where the cluster's API server cannot be stopped from here.
	stopAPIServer, startAPIServer string
	// startPolicies and stopPolicies are commands that have NetworkPolicies enforced where the cluster's own network does not;
	// empty where it does, or where nothing is known that would.
	startPolicies, stopPolicies string
	// processes says that the Pods' processes are visible here and can be killed.
	processes bool
	// earlier is the tree of an earlier version with the image imageEarlier, earlierName its tag or commit; empty for none.
	earlier, earlierName string
	// report is the document that the table is written into; empty for none.
	report string
}

// environment is one cluster with what the tests keep about it.
type environment struct {
	settings
	commandLine
	cluster
	record
	ca      *authority
	app     *app
	players []*player
	ledger  *ledger.Ledger
	// url is the Service's, scheme that of the replicas, too.
	url, scheme string
}

func TestEndToEnd(t *testing.T) {
	ctrllog.SetLogger(logr.Discard())
	e, err := newEnvironment()
	if err != nil {
		t.Fatal(err)
	}
	defer e.writeReport(t)
	e.clear(t)
	for _, way := range installers {
		t.Run(way.name, func(t *testing.T) {
			e.install(t, way)
			for _, s := range scenarios {
				if s.only != "" && s.only != way.name {
					continue
				}
				if !t.Run(s.name, func(t *testing.T) { e.play(t, way, s) }) && s.essential {
					t.FailNow()
				}
			}
		})
	}
}

// clear removes what an earlier run left that was killed, or kept its cluster.
func (e *environment) clear(t *testing.T) {
	if e.must(t, "kubectl", "get", "customresourcedefinition", "apps.scim-operator.io", "--ignore-not-found", "-o", "name") != "" {
		t.Log("the operator is installed already: uninstalling it first")
		t.Log(e.must(t, filepath.Join(e.root, "bin/scim-operator"), "uninstall", "--yes"))
	}
	for _, namespace := range []string{system, directory} {
		e.must(t, "kubectl", "delete", "namespace", namespace, "--ignore-not-found", "--timeout=180s")
	}
}

func newEnvironment() (*environment, error) {
	root, err := filepath.Abs("../..")
	if err != nil {
		return nil, err
	}
	e := &environment{commandLine: commandLine{root: root}, ledger: newLedger(), settings: settings{
		stopAPIServer: os.Getenv("E2E_STOP_APISERVER"), startAPIServer: os.Getenv("E2E_START_APISERVER"),
		startPolicies: os.Getenv("E2E_START_POLICIES"), stopPolicies: os.Getenv("E2E_STOP_POLICIES"),
		processes: os.Getenv("E2E_PROCESSES") != "", earlier: os.Getenv("E2E_EARLIER_TREE"), earlierName: os.Getenv("E2E_EARLIER"),
	}}
	if e.report, err = report.Path(root, os.Getenv("E2E_REPORT")); err != nil {
		return nil, err
	}
	if os.Getenv("KUBECONFIG") == "" {
		return nil, errors.New("KUBECONFIG names no cluster: this test installs, breaks and uninstalls the operator there, so that it must be said")
	}
	if e.config, err = clientcmd.BuildConfigFromFlags("", os.Getenv("KUBECONFIG")); err != nil {
		return nil, err
	}
	e.config.QPS = -1
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		return nil, err
	}
	if e.clientset, err = kubernetes.NewForConfig(e.config); err != nil {
		return nil, err
	}
	if e.client, err = client.New(e.config, client.Options{Scheme: scheme}); err != nil {
		return nil, err
	}
	e.ca, err = newAuthority()
	return e, err
}

func newLedger() *ledger.Ledger { return &ledger.Ledger{} }

// eventually polls until check succeeds, and returns how long that took.
func eventually(t *testing.T, limit time.Duration, what string, check func(ctx context.Context) error) time.Duration {
	t.Helper()
	begun := time.Now()
	for {
		err := check(t.Context())
		if err == nil {
			return time.Since(begun)
		}
		if time.Since(begun) > limit {
			t.Fatalf("%s: not within %s: %v", what, limit, err)
		}
		time.Sleep(100 * time.Millisecond)
	}
}
