//go:build e2e

package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// cluster is the API server, and the operator's Pods as it shows them.
type cluster struct {
	config    *rest.Config
	client    client.Client
	clientset kubernetes.Interface
}

// readyz returns nil where the API server says within a second that it is ready.
func (k *cluster) readyz(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	return k.clientset.Discovery().RESTClient().Get().AbsPath("/readyz").Do(ctx).Error()
}

func (k *cluster) holder(ctx context.Context) (string, error) {
	lease := &coordinationv1.Lease{}
	if err := k.client.Get(ctx, client.ObjectKey{Namespace: system, Name: controller}, lease); err != nil {
		return "", err
	}
	if lease.Spec.HolderIdentity == nil || *lease.Spec.HolderIdentity == "" {
		return "", errors.New("no process holds the Lease")
	}
	return *lease.Spec.HolderIdentity, nil
}

func (k *cluster) leader(t *testing.T) (found leading) {
	t.Helper()
	eventually(t, time.Minute, "a leader", func(ctx context.Context) error {
		holder, err := k.holder(ctx)
		if err != nil {
			return err
		}
		pods, err := k.pods(ctx, "controller")
		if err != nil {
			return err
		}
		for i := range pods {
			if strings.HasPrefix(holder, pods[i].Name+"_") {
				found = leading{identity: holder, pod: pods[i].Name, uid: string(pods[i].UID)}
				return nil
			}
		}
		return fmt.Errorf("no Pod is %s", holder)
	})
	return found
}

// pods lists the Pods of a component that are not being deleted.
func (k *cluster) pods(ctx context.Context, component string) ([]corev1.Pod, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	list := &corev1.PodList{}
	err := k.client.List(ctx, list, client.InNamespace(system),
		client.MatchingLabels{"app.kubernetes.io/name": "scim-operator", "app.kubernetes.io/component": component})
	var living []corev1.Pod
	for _, pod := range list.Items {
		if pod.DeletionTimestamp.IsZero() {
			living = append(living, pod)
		}
	}
	return living, err
}

// awaitReplicas waits until so many Pods of a component are ready, and no other is there.
func (k *cluster) awaitReplicas(t *testing.T, component string, count int) {
	t.Helper()
	eventually(t, rollout, fmt.Sprintf("%d Pods of the %s", count, component), func(ctx context.Context) error {
		list := &corev1.PodList{}
		if err := k.client.List(ctx, list, client.InNamespace(system), client.MatchingLabels{"app.kubernetes.io/component": component}); err != nil {
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

// timeToReady tells how long each component's Pods took from the start of their container to Ready, in the whole seconds
// that the kubelet reports.
func (k *cluster) timeToReady(t *testing.T) string {
	t.Helper()
	var times []string
	for _, component := range []string{"server", "controller"} {
		pods, err := k.pods(t.Context(), component)
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

func (k *cluster) evict(ctx context.Context, pod string) error {
	return k.clientset.CoreV1().Pods(system).EvictV1(ctx, &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Namespace: system, Name: pod}})
}

// mayAct asks the API server whether a person can list ConfigMaps in any of the teams' namespaces.
func (k *cluster) mayAct(ctx context.Context, userName string) (bool, error) {
	for _, namespace := range teams {
		review, err := k.clientset.AuthorizationV1().SubjectAccessReviews().Create(ctx, &authorizationv1.SubjectAccessReview{
			Spec: authorizationv1.SubjectAccessReviewSpec{
				User:               v1alpha1.DefaultUsernamePrefix + userName,
				ResourceAttributes: &authorizationv1.ResourceAttributes{Verb: "list", Resource: "configmaps", Namespace: namespace},
			},
		}, metav1.CreateOptions{})
		if err != nil || review.Status.Allowed {
			return err == nil, err
		}
	}
	return false, nil
}

// startProbe runs a Pod that listens, in a namespace of its own that goes with the test.
func (k *cluster) startProbe(t *testing.T, namespace string, labels map[string]string) *corev1.Pod {
	t.Helper()
	object := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace, Labels: labels}}
	if err := k.client.Create(t.Context(), object); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = k.client.Delete(context.Background(), object) })
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "probe"},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{
			Name: "probe", Image: probeImage, ImagePullPolicy: corev1.PullIfNotPresent, Args: []string{"listen", ":" + strconv.Itoa(probePort)},
		}}},
	}
	eventually(t, time.Minute, "a Pod in "+namespace, func(ctx context.Context) error { return k.client.Create(ctx, pod.DeepCopy()) })
	eventually(t, rollout, "the probe in "+namespace, func(ctx context.Context) error {
		current, err := k.clientset.CoreV1().Pods(namespace).Get(ctx, "probe", metav1.GetOptions{})
		if err == nil && !isReady(current) {
			err = fmt.Errorf("it is %s", current.Status.Phase)
		}
		pod = current
		return err
	})
	return pod
}
