//go:build e2e

package e2e_test

import (
	"context"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	probeImage = "registry.example.com/scim-operator:probe"
	probePort  = 8080
	// elsewhere is a namespace like any other, monitoring one that the NetworkPolicies let read metrics.
	elsewhere  = "e2e-elsewhere"
	monitoring = "e2e-monitoring"
	// enforcement bounds the time until a new NetworkPolicy is in force.
	enforcement = 30 * time.Second
)

// The containers' ports, by what the NetworkPolicies say of them.
const (
	healthPort     = 8081
	metricsPort    = 8082
	authorizerPort = 9443
)

// networkPolicies asks from Pods elsewhere what of the operator they reach. Whether the cluster's network enforces policies at
// all is found out first, by a policy of the test's own.
func networkPolicies(t *testing.T, e *environment, _ installer, _ *traffic) {
	if e.startPolicies != "" {
		e.shell(t, e.startPolicies)
		t.Cleanup(func() {
			if _, err := e.run(context.Background(), "sh", "-c", e.stopPolicies); err != nil {
				t.Error(err)
			}
		})
	}
	target := e.startProbe(t, monitoring, map[string]string{"metrics": "enabled"})
	e.startProbe(t, elsewhere, nil)
	e.awaitReach(t, elsewhere, map[string]bool{address(target, probePort): true})
	if reason := e.policiesIgnored(t, address(target, probePort)); reason != "" {
		e.note(t, "not run: %s", reason)
		t.Skipf("not run: %s", reason)
	}
	type port struct {
		number                        int
		fromElsewhere, fromMonitoring bool
	}
	fromElsewhere, fromMonitoring := map[string]bool{}, map[string]bool{}
	for component, ports := range map[string][]port{
		"server":     {{scimPort, true, true}, {metricsPort, false, true}, {healthPort, false, false}, {authorizerPort, false, false}},
		"controller": {{metricsPort, false, true}, {healthPort, false, false}},
	} {
		pods, err := e.pods(t.Context(), component)
		if err != nil || len(pods) == 0 {
			t.Fatalf("%d Pods of the %s: %v", len(pods), component, err)
		}
		for i := range pods {
			for _, p := range ports {
				fromElsewhere[address(&pods[i], p.number)] = p.fromElsewhere
				fromMonitoring[address(&pods[i], p.number)] = p.fromMonitoring
			}
		}
	}
	e.awaitReach(t, elsewhere, fromElsewhere)
	e.awaitReach(t, monitoring, fromMonitoring)
	e.note(t, "from a Pod elsewhere: SCIM open, metrics, health and authorizer closed; from a namespace with metrics: enabled, metrics open")
}

// policiesIgnored says why the effect of NetworkPolicies cannot be tested; "" where a policy takes an open port away.
func (e *environment) policiesIgnored(t *testing.T, target string) string {
	t.Helper()
	closed := &networkingv1.NetworkPolicy{
		ObjectMeta: metav1.ObjectMeta{Namespace: monitoring, Name: "nothing-comes-in"},
		Spec:       networkingv1.NetworkPolicySpec{PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress}},
	}
	if err := e.client.Create(t.Context(), closed); err != nil {
		t.Fatal(err)
	}
	for begun := time.Now(); time.Since(begun) < enforcement; {
		open, err := e.reached(t.Context(), elsewhere, target)
		if err != nil {
			t.Fatal(err)
		}
		if !open[target] {
			return ""
		}
		time.Sleep(500 * time.Millisecond)
	}
	return fmt.Sprintf("the cluster's network enforces no NetworkPolicies: one that lets nothing in changed nothing in %s", enforcement)
}

// startProbe runs a Pod that listens, in a namespace of its own that goes with the test.
func (e *environment) startProbe(t *testing.T, namespace string, labels map[string]string) *corev1.Pod {
	t.Helper()
	object := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace, Labels: labels}}
	if err := e.client.Create(t.Context(), object); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.client.Delete(context.Background(), object) })
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "probe"},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{
			Name: "probe", Image: probeImage, ImagePullPolicy: corev1.PullIfNotPresent, Args: []string{"listen", ":" + strconv.Itoa(probePort)},
		}}},
	}
	eventually(t, time.Minute, "a Pod in "+namespace, func(ctx context.Context) error { return e.client.Create(ctx, pod.DeepCopy()) })
	eventually(t, rollout, "the probe in "+namespace, func(ctx context.Context) error {
		current, err := e.clientset.CoreV1().Pods(namespace).Get(ctx, "probe", metav1.GetOptions{})
		if err == nil && !isReady(current) {
			err = fmt.Errorf("it is %s", current.Status.Phase)
		}
		pod = current
		return err
	})
	return pod
}

func address(pod *corev1.Pod, port int) string {
	return net.JoinHostPort(pod.Status.PodIP, strconv.Itoa(port))
}

// reached says of addresses whether the probe of a namespace gets a connection.
func (e *environment) reached(ctx context.Context, namespace string, addresses ...string) (map[string]bool, error) {
	output, err := e.run(ctx, "kubectl", append([]string{"-n", namespace, "exec", "probe", "--", "/probe", "dial"}, addresses...)...)
	if err != nil {
		return nil, err
	}
	open := map[string]bool{}
	for line := range strings.Lines(output) {
		if address, result, found := strings.Cut(strings.TrimSpace(line), " "); found {
			open[address] = result == "open"
		}
	}
	if len(open) != len(addresses) {
		return nil, fmt.Errorf("asked for %d addresses, the probe says:\n%s", len(addresses), output)
	}
	return open, nil
}

// awaitReach wants addresses to be open, or closed, to the probe of a namespace, once the policies are in force.
func (e *environment) awaitReach(t *testing.T, namespace string, want map[string]bool) {
	t.Helper()
	eventually(t, enforcement, "what is reached from namespace "+namespace, func(ctx context.Context) error {
		got, err := e.reached(ctx, namespace, slices.Sorted(maps.Keys(want))...)
		if err == nil && !maps.Equal(got, want) {
			err = fmt.Errorf("open is %v, want %v", got, want)
		}
		return err
	})
}
