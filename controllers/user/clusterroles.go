package user

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/controllers/app"
)

// clusterRoleGrace is how long a ClusterRole is gone before the users that hold it are told: a tool that replaces it deletes it first.
const clusterRoleGrace = 5 * time.Second

// checkClusterRoles corrects a verdict that every role is bound, where a ClusterRole behind one of them does not exist: a binding to
// it gives nothing. It reads the cache. Namespaced Roles are not watched; the App tells of them. Its error is the cache's.
func (e *evaluation) checkClusterRoles(ctx context.Context) error {
	if e.verdict.granted.Reason != v1alpha1.ReasonGranted {
		return nil
	}
	var problems []string
	for i := range e.app.Spec.Roles {
		role := &e.app.Spec.Roles[i]
		if !slices.ContainsFunc(e.verdict.roles, func(held v1alpha1.EarnedRole) bool { return held.Role == role.Name }) {
			continue
		}
		for _, grant := range role.Grants {
			if grant.ClusterRole == "" {
				continue
			}
			exists, err := app.ClusterRoleExists(ctx, e.Client, grant.ClusterRole)
			if err != nil {
				return err
			}
			if !exists && len(problems) < maxProblems {
				problems = append(problems, fmt.Sprintf("ClusterRole %q, which role %q grants, does not exist", grant.ClusterRole, role.Name))
			}
		}
	}
	e.verdict.powerless(problems)
	return nil
}

// powerless says of roles that are bound what keeps them from giving anything.
func (v *verdict) powerless(problems []string) {
	if len(problems) == 0 {
		return
	}
	message := strings.Join(problems, "; ") + ": the binding gives nothing until it does."
	v.granted = condition(v1alpha1.ConditionAccessGranted, false, v1alpha1.ReasonRoleNotFound, message)
	if v.ready.Status == metav1.ConditionTrue {
		v.ready = condition(v1alpha1.ConditionReady, false, v1alpha1.ReasonRoleNotFound, message)
	}
}

// watchClusterRoles brings back the users that hold a ClusterRole which comes, or is gone for clusterRoleGrace, behind all others.
func (r *Reconciler) watchClusterRoles() handler.TypedEventHandler[*metav1.PartialObjectMetadata, reconcile.Request] {
	type object = *metav1.PartialObjectMetadata
	return handler.TypedFuncs[object, reconcile.Request]{
		CreateFunc: func(ctx context.Context, e event.TypedCreateEvent[object], _ queue) {
			if !e.IsInInitialList { // every user comes as an event
				r.enqueueHolders(ctx, e.Object.Name)
			}
		},
		DeleteFunc: func(ctx context.Context, e event.TypedDeleteEvent[object], _ queue) {
			name, ctx := e.Object.Name, context.WithoutCancel(ctx) // it ends with the event
			time.AfterFunc(clusterRoleGrace, func() {
				if exists, err := app.ClusterRoleExists(ctx, r.Client, name); err == nil && !exists {
					r.enqueueHolders(ctx, name)
				}
			})
		},
	}
}

// enqueueHolders has the users evaluated that hold a role by which an App grants the ClusterRole. An evaluation enters what it found into
// the index before it looks whether the ClusterRole exists, so that one that is under way is not missed.
func (r *Reconciler) enqueueHolders(ctx context.Context, clusterRole string) {
	apps := &v1alpha1.AppList{}
	if err := r.Client.List(ctx, apps, client.UnsafeDisableDeepCopy); err != nil {
		log.FromContext(ctx).Error(err, "Cannot list Apps")
		return
	}
	for i := range apps.Items {
		for _, key := range r.Index.OfApp(apps.Items[i].Namespace, apps.Items[i].Name) {
			if !app.GrantsClusterRole(&apps.Items[i], key.Role, clusterRole) {
				continue
			}
			for _, name := range r.Index.Holders(key) {
				r.enqueue(handler.LowPriority, types.NamespacedName{Namespace: key.Namespace, Name: name})
			}
		}
	}
}
