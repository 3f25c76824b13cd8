//go:build e2e

package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const backup = "scim-operator-backup.yaml"

// restoreRunning deletes the App's namespace and restores it while the operator runs, the kinds one after the other in
// Velero's order, each seen by the controllers before the next one comes.
func restoreRunning(t *testing.T, e *environment, _ installer, _ *traffic) {
	e.backUp(t)
	e.loseDirectory(t)
	for _, document := range e.kindsOfBackup(t) {
		e.applyText(t, document.text)
		t.Logf("restored every %s", document.kind)
		time.Sleep(time.Second)
	}
	e.restored(t)
}

// restoreStopped restores into a cluster in which the operator does not run yet, without owner references, and starts it then.
func restoreStopped(t *testing.T, e *environment, _ installer, _ *traffic) {
	e.backUp(t)
	e.loseDirectory(t)
	e.kubectl(t, "scale", "deployment/"+server, "deployment/"+controller, "--replicas=0")
	e.awaitReplicas(t, "server", 0)
	e.awaitReplicas(t, "controller", 0)
	e.loseOwners(t)
	e.follow(t, operations, "restore")
	e.kubectl(t, "scale", "deployment/"+server, "deployment/"+controller, "--replicas=2")
	e.awaitRollout(t)
	e.restored(t)
}

func (e *environment) backUp(t *testing.T) {
	t.Helper()
	t.Cleanup(func() { _ = os.Remove(filepath.Join(e.root, backup)) })
	e.follow(t, operations, "backup")
}

// loseDirectory deletes the App's namespace. The people with access by it have none then. It is made again, empty.
func (e *environment) loseDirectory(t *testing.T) {
	t.Helper()
	begun := time.Now()
	e.must(t, "kubectl", "delete", "namespace", directory, "--timeout=180s")
	e.note(t, "namespace %s was gone after %s", directory, time.Since(begun).Round(time.Second))
	e.nobodyMayAct(t)
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: directory}}
	if err := e.client.Create(t.Context(), namespace); err != nil {
		t.Fatal(err)
	}
}

// nobodyMayAct asks the API server about all people that the ledger knows.
func (e *environment) nobodyMayAct(t *testing.T) {
	t.Helper()
	for _, person := range e.ledger.People() {
		allowed, err := e.mayAct(t.Context(), person.UserName)
		if err != nil {
			t.Fatal(err)
		}
		if allowed {
			t.Errorf("%s still has access", person.UserName)
		}
	}
}

// restored waits until the restored token opens every replica; verify compares the rest.
func (e *environment) restored(t *testing.T) {
	t.Helper()
	took := e.awaitOpen(t, *e.app.token.Load())
	e.note(t, "the token is taken %s after the restore", took.Round(100*time.Millisecond))
}

type kindOfBackup struct{ kind, text string }

// kindsOfBackup splits the backup by kinds, in their order there: the alphabetical one.
func (e *environment) kindsOfBackup(t *testing.T) []kindOfBackup {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(e.root, backup))
	if err != nil {
		t.Fatal(err)
	}
	var kinds []kindOfBackup
	kind := regexp.MustCompile(`(?m)^  kind: (\w+)$`)
	for i, item := range strings.Split(string(data), "\n- apiVersion: ") {
		found := kind.FindStringSubmatch(item)
		if i == 0 || found == nil {
			continue
		}
		if last := len(kinds) - 1; last < 0 || kinds[last].kind != found[1] {
			kinds = append(kinds, kindOfBackup{kind: found[1], text: "apiVersion: v1\nkind: List\nitems:"})
		}
		item, _, _ = strings.Cut(item, "\nkind: List")
		kinds[len(kinds)-1].text += "\n- apiVersion: " + item
	}
	if len(kinds) < 5 {
		t.Fatalf("the backup has %d kinds", len(kinds))
	}
	return kinds
}

// loseOwners takes the owner references out of the backup: they are lists of maps at the depth of metadata's fields.
func (e *environment) loseOwners(t *testing.T) {
	t.Helper()
	path := filepath.Join(e.root, backup)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	owners := regexp.MustCompile(`(?m)^    ownerReferences:\n(?:    (?:-|  ).*\n)+`)
	if err := os.WriteFile(path, owners.ReplaceAll(data, nil), 0o600); err != nil {
		t.Fatal(err)
	}
}

// undeployTwice takes the program away, twice, and installs it again: people keep what they had, and nothing is lost.
func undeployTwice(t *testing.T, e *environment, way installer, _ *traffic) {
	for range 2 {
		way.remove(t, e)
		e.awaitReplicas(t, "server", 0)
		e.awaitReplicas(t, "controller", 0)
		for _, person := range e.ledger.People() {
			allowed, err := e.mayAct(t.Context(), person.UserName)
			if err != nil {
				t.Fatal(err)
			}
			if allowed != person.Active {
				t.Errorf("%s, active %t, has access: %t", person.UserName, person.Active, allowed)
			}
		}
	}
	way.configure(t, e)
	e.awaitRollout(t)
	e.awaitReplicas(t, "server", 2) // helm installs with HTTP first: while the last such Pod ends, the Service may still lead there
	e.findService(t)
	e.restored(t)
}

// uninstallEverything follows docs/operations.md: the command is cut off once, then run twice. No person has access at any
// point after the first revocation, and nothing of the operator is left.
func uninstallEverything(t *testing.T, e *environment, way installer, _ *traffic) {
	t.Log(e.follow(t, operations, "uninstall, only shown"))
	ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
	output, err := e.run(ctx, filepath.Join(e.root, "bin/scim-operator"), "uninstall", "--yes")
	cancel()
	if err == nil {
		t.Error("it was done before it could be cut off")
	}
	t.Logf("killed after this:\n%s", output)
	for range 2 {
		t.Log(e.follow(t, operations, "uninstall"))
		e.nobodyMayAct(t)
	}
	if left := e.must(t, "kubectl", "get", "crd,validatingadmissionpolicies,validatingadmissionpolicybindings,clusterroles,clusterrolebindings,rolebindings,leases", "-A",
		"-o", "name", "-l", "app.kubernetes.io/part-of=scim-operator"); left != "" {
		t.Errorf("left in the cluster:\n%s", left)
	}
	if way.forget != nil {
		way.forget(t, e)
	}
	eventually(t, rollout, "the end of the operator's namespace", func(ctx context.Context) error {
		err := e.client.Get(ctx, client.ObjectKey{Name: system}, &corev1.Namespace{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		return errors.Join(err, fmt.Errorf("namespace %s is still there", system))
	})
	e.forget()
}

// forget begins a new ledger: what was acknowledged before was taken away on purpose.
func (e *environment) forget() {
	e.ledger = newLedger()
	e.players = nil
}
