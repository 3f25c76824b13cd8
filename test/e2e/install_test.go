//go:build e2e

package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/test/e2e/report"
)

const (
	// imageOne and imageTwo are the tags that hack/e2e builds: one binary, two images.
	imageOne = "scim-operator-e2e:one"
	imageTwo = "scim-operator-e2e:two"
	// tlsSecret holds the server's certificate.
	tlsSecret = "scim-operator-server-tls"
	// overlay is what is installed by kustomize.
	overlay = "test/e2e/overlay"
	// rollout bounds every wait for Pods.
	rollout = 4 * time.Minute
)

// installer is one way to install.
type installer struct {
	name string
	// needs is a folder of this repository that it installs from.
	needs string
	// apply installs, or brings what is installed to the manifests' state.
	apply func(t *testing.T, e *environment)
	// image has the Deployments run another image.
	image func(t *testing.T, e *environment, image string)
	// remove undoes apply, as far as that way to install goes.
	remove func(t *testing.T, e *environment)
}

// chart is the Helm chart's folder, release its release.
const (
	chart   = "charts/scim-operator"
	release = "scim-operator"
)

var installers = []installer{
	{
		name:  "kustomize",
		apply: func(t *testing.T, e *environment) { e.deploy(t, imageOne) },
		image: func(t *testing.T, e *environment, image string) { e.deploy(t, image) },
		remove: func(t *testing.T, e *environment) {
			output := e.must(t, "make", "undeploy", "CONFIG="+overlay)
			if !strings.Contains(output, "These bindings go on granting access") {
				t.Errorf("make undeploy does not tell what still grants access:\n%s", output)
			}
		},
	},
	{
		name:   "chart",
		needs:  chart,
		apply:  func(t *testing.T, e *environment) { e.upgrade(t, imageOne) },
		image:  func(t *testing.T, e *environment, image string) { e.upgrade(t, image) },
		remove: func(t *testing.T, e *environment) { t.Log(e.helm(t, "uninstall", release, "--ignore-not-found")) },
	},
}

// helm runs the pinned Helm in the operator's namespace.
func (e *environment) helm(t *testing.T, arguments ...string) string {
	t.Helper()
	return e.must(t, "go", append([]string{"tool", "-modfile=hack/tools/helm/go.mod", "helm", "--namespace", system}, arguments...)...)
}

// upgrade installs the chart, or brings an installed one to another image, in one go: nothing is tried twice.
func (e *environment) upgrade(t *testing.T, image string) {
	t.Helper()
	repository, tag, _ := strings.Cut(image, ":")
	e.helm(t, "upgrade", "--install", release, chart,
		"--set", "image.repository="+repository, "--set", "image.tag="+tag, "--set", "tls.secretName="+tlsSecret)
}

// deploy is what the README says: make deploy. For a moment after the first one, the API server does not know the kinds
// that policies refer to, and refuses: it is repeated, as the README says, too.
func (e *environment) deploy(t *testing.T, image string) {
	t.Helper()
	eventually(t, 2*time.Minute, "make deploy", func(ctx context.Context) error {
		_, err := e.run(ctx, "make", "deploy", "IMG="+image, "CONFIG="+overlay)
		return err
	})
}

// install brings the operator, the quickstart's App and a token into the cluster, and waits until every replica serves.
func (e *environment) install(t *testing.T, way installer) {
	begun := time.Now()
	t.Logf("installing by %s", way.name)
	e.must(t, "kubectl", "apply", "--server-side", "--force-conflicts", "-f", "config/rbac/namespace.yaml")
	e.applyCertificate(t)
	way.apply(t, e)
	e.awaitRollout(t)
	e.findService(t)
	e.installApp(t)
	e.awaitOpen(t, *e.app.token.Load())
	e.addRow(report.Row{Scenario: "install by " + way.name, Duration: time.Since(begun), Note: "Ready " + e.timeToReady(t)})
}

// applyCertificate puts a new certificate into the server's Secret, and returns its serial number.
func (e *environment) applyCertificate(t *testing.T) string {
	t.Helper()
	secret, serial, err := e.ca.issue(system, tlsSecret)
	if err != nil {
		t.Fatal(err)
	}
	current := &corev1.Secret{}
	err = e.client.Get(t.Context(), client.ObjectKeyFromObject(secret), current)
	if err == nil {
		current.Data = secret.Data
		err = e.client.Update(t.Context(), current)
	} else if client.IgnoreNotFound(err) == nil {
		err = e.client.Create(t.Context(), secret)
	}
	if err != nil {
		t.Fatal(err)
	}
	return serial.String()
}

func (e *environment) awaitRollout(t *testing.T) {
	t.Helper()
	for _, name := range []string{server, controller} {
		e.kubectl(t, "rollout", "status", "deployment/"+name, "--timeout="+rollout.String())
	}
}

// findService learns the address of the Service.
func (e *environment) findService(t *testing.T) {
	t.Helper()
	service := &corev1.Service{}
	if err := e.client.Get(t.Context(), client.ObjectKey{Namespace: system, Name: server}, service); err != nil {
		t.Fatal(err)
	}
	if len(service.Spec.Ports) != 1 {
		t.Fatalf("the Service has the ports %+v, one is wanted", service.Spec.Ports)
	}
	e.url = fmt.Sprintf("https://%s:%d", service.Spec.ClusterIP, service.Spec.Ports[0].Port)
}

// timeToReady tells how long each component's Pods took from the start of their container to Ready, in the whole seconds
// that the kubelet reports.
func (e *environment) timeToReady(t *testing.T) string {
	t.Helper()
	var times []string
	for _, component := range []string{"server", "controller"} {
		pods, err := e.pods(t.Context(), component)
		if err != nil {
			t.Fatal(err)
		}
		longest := time.Duration(0)
		for i := range pods {
			longest = max(longest, readyAfter(&pods[i]))
		}
		times = append(times, fmt.Sprintf("%s %s", component, longest))
	}
	return fmt.Sprintf("after %s, %s", times[0], times[1])
}

func readyAfter(pod *corev1.Pod) time.Duration {
	var ready, started metav1.Time
	for _, condition := range pod.Status.Conditions {
		if condition.Type == corev1.PodReady {
			ready = condition.LastTransitionTime
		}
	}
	for _, status := range pod.Status.ContainerStatuses {
		if status.State.Running != nil {
			started = status.State.Running.StartedAt
		}
	}
	return ready.Sub(started.Time)
}

// awaitReplicas waits until so many Pods of a component are ready, and no other is there.
func (e *environment) awaitReplicas(t *testing.T, component string, count int) {
	t.Helper()
	eventually(t, rollout, fmt.Sprintf("%d Pods of the %s", count, component), func(ctx context.Context) error {
		list := &corev1.PodList{}
		if err := e.client.List(ctx, list, client.InNamespace(system), client.MatchingLabels{"app.kubernetes.io/component": component}); err != nil {
			return err
		}
		var errs []error
		for i := range list.Items {
			if pod := &list.Items[i]; !isReady(pod) || pod.DeletionTimestamp != nil {
				errs = append(errs, fmt.Errorf("%s is %s and not ready, or is being deleted", pod.Name, pod.Status.Phase))
			}
		}
		if len(list.Items) != count {
			errs = append(errs, fmt.Errorf("there are %d", len(list.Items)))
		}
		return errors.Join(errs...)
	})
}
