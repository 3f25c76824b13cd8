package manifests_test

import (
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/hack/localoperator"
)

// What a drain, a rolling update and a full node do to either Deployment follows from these fields, as the API server
// stored them.
func TestWorkloads(t *testing.T) {
	c := startCluster(t)
	c.apply(t, "../../config/default")
	for name, grace := range map[string]time.Duration{
		localoperator.ServerAccount:     6*time.Second + 25*time.Second, // shutdown delay and drain
		localoperator.ControllerAccount: 15 * time.Second,
	} {
		t.Run(name, func(t *testing.T) {
			key := client.ObjectKey{Namespace: localoperator.Namespace, Name: name}
			deployment, budget, network := &appsv1.Deployment{}, &policyv1.PodDisruptionBudget{}, &networkingv1.NetworkPolicy{}
			must(t, c.admin.Get(t.Context(), key, deployment))
			must(t, c.admin.Get(t.Context(), key, budget))
			must(t, c.admin.Get(t.Context(), key, network))
			pod := deployment.Spec.Template
			if *deployment.Spec.Replicas < 2 || deployment.Spec.Strategy.RollingUpdate.MaxUnavailable.IntValue() != 0 {
				t.Errorf("%d replicas, of which an update takes %s", *deployment.Spec.Replicas, deployment.Spec.Strategy.RollingUpdate.MaxUnavailable)
			}
			if budget.Spec.MaxUnavailable.IntValue() != 1 {
				t.Errorf("a drain takes %s replicas at once", budget.Spec.MaxUnavailable)
			}
			if given := time.Duration(*pod.Spec.TerminationGracePeriodSeconds) * time.Second; given <= grace {
				t.Errorf("a Pod gets %s to end, it may need %s", given, grace)
			}
			selects(t, budget.Spec.Selector, pod.Labels)
			selects(t, &network.Spec.PodSelector, pod.Labels)
			spreads(t, pod)
			c.hasPriority(t, pod.Spec.PriorityClassName)
			limitsMemory(t, pod.Spec.Containers[0])
		})
	}
}

func selects(t *testing.T, selector *metav1.LabelSelector, of labels.Set) {
	t.Helper()
	parsed, err := metav1.LabelSelectorAsSelector(selector)
	must(t, err)
	if parsed.Empty() || !parsed.Matches(of) {
		t.Errorf("the selector %s does not select Pods with the labels %s", parsed, of)
	}
}

func spreads(t *testing.T, pod corev1.PodTemplateSpec) {
	t.Helper()
	keys := map[string]bool{corev1.LabelHostname: false, corev1.LabelTopologyZone: false}
	for _, constraint := range pod.Spec.TopologySpreadConstraints {
		keys[constraint.TopologyKey] = true
		selects(t, constraint.LabelSelector, pod.Labels)
		if constraint.WhenUnsatisfiable != corev1.ScheduleAnyway {
			t.Errorf("a cluster with one %s runs one replica only", constraint.TopologyKey)
		}
	}
	for key, spread := range keys {
		if !spread {
			t.Errorf("replicas are not spread over %s", key)
		}
	}
}

func (c *cluster) hasPriority(t *testing.T, class string) {
	t.Helper()
	if output, err := c.kubectl(t.Context(), "get", "priorityclass", class); err != nil {
		t.Errorf("the Pods' priority class %q: %v\n%s", class, err, output)
	}
}

func limitsMemory(t *testing.T, container corev1.Container) {
	t.Helper()
	limit, request := container.Resources.Limits.Memory(), container.Resources.Requests.Memory()
	if request.IsZero() || limit.Cmp(*request) < 0 || container.Resources.Requests.Cpu().IsZero() {
		t.Errorf("resources are %+v", container.Resources)
	}
	for _, variable := range container.Env {
		if variable.Name == "GOMEMLIMIT" && variable.ValueFrom.ResourceFieldRef.Resource == "limits.memory" {
			return
		}
	}
	t.Errorf("the Go runtime does not know the container's limit of %s", limit)
}
