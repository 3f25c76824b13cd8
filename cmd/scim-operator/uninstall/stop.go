package uninstall

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/controllers"
)

// stop scales the operator's Deployments to nothing and waits for their Pods and for the Lease: a controller that runs would
// put back the bindings that the next step takes away, and a server would take in more people.
func (u *Uninstaller) stop(ctx context.Context) (string, error) {
	var deployments appsv1.DeploymentList
	if err := u.client.List(ctx, &deployments, ofInstallation()); err != nil {
		return "", err
	}
	zero := int32(0)
	for i := range deployments.Items {
		deployment := &deployments.Items[i]
		if deployment.Spec.Replicas != nil && *deployment.Spec.Replicas == 0 {
			continue
		}
		before := deployment.DeepCopy()
		deployment.Spec.Replicas = &zero
		if err := u.client.Patch(ctx, deployment, client.MergeFrom(before)); client.IgnoreNotFound(err) != nil {
			return "", fmt.Errorf("scale Deployment %s/%s to 0: %w", deployment.Namespace, deployment.Name, err)
		}
	}
	for i := range deployments.Items {
		if err := u.awaitPods(ctx, &deployments.Items[i]); err != nil {
			return "", err
		}
	}
	if err := u.awaitLease(ctx); err != nil {
		return "", err
	}
	return fmt.Sprintf("%s scaled to 0, no controller leads", counted(len(deployments.Items), "Deployment")), nil
}

func ofInstallation() client.MatchingLabels { return client.MatchingLabels{partOf: partOfValue} }

func (u *Uninstaller) awaitPods(ctx context.Context, deployment *appsv1.Deployment) error {
	var running []string
	gone, err := u.until(ctx, func(ctx context.Context) (bool, error) {
		var pods corev1.PodList
		if err := u.client.List(ctx, &pods, client.InNamespace(deployment.Namespace), client.MatchingLabels(deployment.Spec.Selector.MatchLabels)); err != nil {
			return false, err
		}
		running = nil
		for i := range pods.Items {
			running = append(running, pods.Items[i].Namespace+"/"+pods.Items[i].Name)
		}
		return len(running) == 0, nil
	})
	if err == nil && !gone {
		err = fmt.Errorf("the Pods %s of Deployment %s/%s still run after %s, although it was scaled to 0: does a GitOps tool or an autoscaler hold it?",
			strings.Join(running, ", "), deployment.Namespace, deployment.Name, u.patience)
	}
	return err
}

// awaitLease waits until no controller leads, in whatever namespace: one that runs outside of the Deployments as well.
func (u *Uninstaller) awaitLease(ctx context.Context) error {
	var holder string
	free, err := u.until(ctx, func(ctx context.Context) (bool, error) {
		var leases coordinationv1.LeaseList
		if err := u.client.List(ctx, &leases, client.MatchingFields{"metadata.name": controllers.LeaderElectionID}); err != nil {
			return false, err
		}
		leads := slices.IndexFunc(leases.Items, isHeld)
		if leads >= 0 {
			holder = fmt.Sprintf("%s, by Lease %s/%s", *leases.Items[leads].Spec.HolderIdentity, leases.Items[leads].Namespace, leases.Items[leads].Name)
		}
		return leads < 0, nil
	})
	if err == nil && !free {
		err = fmt.Errorf("a controller still leads: %s. Stop it, or it grants again what is taken away", holder)
	}
	return err
}

func isHeld(lease coordinationv1.Lease) bool {
	spec := lease.Spec
	if spec.HolderIdentity == nil || *spec.HolderIdentity == "" || spec.RenewTime == nil || spec.LeaseDurationSeconds == nil {
		return false
	}
	return time.Since(spec.RenewTime.Time) < time.Duration(*spec.LeaseDurationSeconds)*time.Second
}

func counted(count int, noun string) string {
	if count == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", count, noun)
}
