//go:build e2e

package e2e_test

import (
	"context"
	"fmt"
	"net"
	"strconv"
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

func address(pod *corev1.Pod, port int) string {
	return net.JoinHostPort(pod.Status.PodIP, strconv.Itoa(port))
}
