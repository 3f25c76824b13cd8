//go:build e2e

package e2e_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/scim-operator/scim-operator/test/e2e/report"
)

func reportNote(name, note string) report.Row { return report.Row{Scenario: name, Note: note} }

func undisturbed(*testing.T, *environment, installer, *traffic) {}

func restart(t *testing.T, e *environment, way installer, tr *traffic) {
	for range way.restarts {
		e.kubectl(t, "rollout", "restart", "deployment/"+server, "deployment/"+controller)
		e.awaitRollout(t)
		tr.await(t, 200)
	}
}

func forceDelete(t *testing.T, e *environment, _ installer, _ *traffic) {
	pods, err := e.pods(t.Context(), "server")
	if err != nil || len(pods) == 0 {
		t.Fatalf("no server to delete: %v", err)
	}
	e.kubectl(t, "delete", "pod", pods[0].Name, "--force", "--grace-period=0")
	e.awaitRollout(t)
}

func scale(t *testing.T, e *environment, _ installer, tr *traffic) {
	for _, count := range []int{3, 1, 2} {
		e.kubectl(t, "scale", "deployment/"+server, fmt.Sprintf("--replicas=%d", count))
		e.awaitReplicas(t, "server", count)
		tr.await(t, 200)
	}
}

// update follows docs/operations.md to another image, and back.
func update(t *testing.T, e *environment, way installer, tr *traffic) {
	for _, follow := range []func(*testing.T, *environment){way.upgrade, way.back} {
		follow(t, e)
		e.awaitRollout(t)
		tr.await(t, 200)
	}
}

func needsEarlier(e *environment) string {
	if e.earlier == "" {
		return "no earlier version: there is no tag v* before this commit, and E2E_EARLIER names none"
	}
	return ""
}

// downgrade deploys an earlier version over this one, manifests and image, and this one over it again: each reads what the
// other wrote.
func downgrade(t *testing.T, e *environment, way installer, tr *traffic) {
	e.must(t, "make", "-C", e.earlier, "deploy", "IMG="+imageEarlier, "CONFIG="+overlay)
	e.awaitRollout(t)
	tr.await(t, 200)
	tr.verify(t)
	way.configure(t, e)
	e.awaitRollout(t)
	tr.await(t, 200)
	e.note(t, "from and to %s", e.earlierName)
}

// rotate makes a second token, gives it to every client, and deletes the first: two that overlap leave no gap.
func rotate(t *testing.T, e *environment, _ installer, tr *traffic) {
	former, text := e.makeToken(t)
	e.awaitOpen(t, text)
	e.app.token.Store(&text)
	tr.await(t, 200)
	e.dropToken(t, former)
	tr.await(t, 200)
}

// rotateCertificate replaces the Secret, and waits until every replica presents the new certificate. The kubelet looks for
// changed Secrets once in a minute or so, and at once where something about the Pod changes.
func rotateCertificate(t *testing.T, e *environment, _ installer, _ *traffic) {
	serial := e.applyCertificate(t, tlsSecret)
	e.kubectl(t, "annotate", "pods", "-l", "app.kubernetes.io/component=server", "--overwrite", "e2e/certificate="+serial)
	took := eventually(t, 4*time.Minute, "the new certificate on every replica", func(ctx context.Context) error {
		urls, err := e.replicas(ctx)
		for _, url := range urls {
			got, failure := e.presented(ctx, url)
			if failure == nil && got != serial {
				failure = fmt.Errorf("%s presents certificate %s, %s is in the Secret", url, got, serial)
			}
			err = errors.Join(err, failure)
		}
		return err
	})
	e.note(t, "every replica presents the new certificate %s after the kubelet was made to look", took.Round(100*time.Millisecond))
}

// presented returns the serial number of the certificate that a server presents.
func (e *environment) presented(ctx context.Context, url string) (string, error) {
	dialer := &tls.Dialer{NetDialer: &net.Dialer{Timeout: 5 * time.Second}, Config: &tls.Config{RootCAs: e.ca.roots, ServerName: serverName, MinVersion: tls.VersionTLS12}}
	connection, err := dialer.DialContext(ctx, "tcp", strings.TrimPrefix(url, "https://"))
	if err != nil {
		return "", err
	}
	defer func() { _ = connection.Close() }()
	return connection.(*tls.Conn).ConnectionState().PeerCertificates[0].SerialNumber.String(), nil
}

// drain evicts every Pod of the operator, from a node that takes no new ones: while their replacements find no node,
// the disruption budgets keep one of each.
func drain(t *testing.T, e *environment, _ installer, tr *traffic) {
	nodes, err := e.clientset.CoreV1().Nodes().List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, component := range []string{"server", "controller"} {
		pods, err := e.pods(t.Context(), component)
		if err != nil || len(pods) != 2 {
			t.Fatalf("%d Pods of the %s, want 2: %v", len(pods), component, err)
		}
		e.drainHalf(t, pods[0], pods[1], len(nodes.Items) == 1, tr)
		e.awaitReplicas(t, component, 2)
		eventually(t, rollout, "the eviction of the second Pod", func(ctx context.Context) error { return e.evict(ctx, pods[1].Name) })
		e.awaitReplicas(t, component, 2)
	}
}

// drainHalf evicts one of two Pods from a node that takes no new ones. Where there is no other node, the second must stay.
func (e *environment) drainHalf(t *testing.T, first, second corev1.Pod, single bool, tr *traffic) {
	t.Helper()
	e.must(t, "kubectl", "cordon", first.Spec.NodeName)
	defer e.must(t, "kubectl", "uncordon", first.Spec.NodeName)
	if err := e.evict(t.Context(), first.Name); err != nil {
		t.Fatalf("the first of two Pods cannot be evicted: %v", err)
	}
	if !single {
		return
	}
	if err := e.evict(t.Context(), second.Name); !apierrors.IsTooManyRequests(err) {
		t.Fatalf("the last Pod %s was evicted, or the answer was not the budget's: %v", second.Name, err)
	}
	tr.await(t, 200)
}
