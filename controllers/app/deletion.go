package app

import (
	"context"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/claims"
	"github.com/scim-operator/scim-operator/internal/clip"
	"github.com/scim-operator/scim-operator/internal/membership"
)

const (
	// deletionStep is how long one round of an App's deletion rests before the next one.
	deletionStep = time.Second
	// deleteInAll bounds the objects of each kind that one round deletes, deleteAtOnce those under way.
	deleteInAll  = 500
	deleteAtOnce = 8
)

// keepFinalizer has the deletion of an App wait for its users and groups as long as its policy is to delete them.
func (r *Reconciler) keepFinalizer(ctx context.Context, app *v1alpha1.App) error {
	before := app.DeepCopy()
	var changed bool
	if app.Spec.DeletionPolicy == v1alpha1.DeletionPolicyDelete {
		changed = controllerutil.AddFinalizer(app, v1alpha1.FinalizerApp)
	} else {
		changed = controllerutil.RemoveFinalizer(app, v1alpha1.FinalizerApp)
	}
	if !changed {
		return nil
	}
	return r.Client.Patch(ctx, app, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}))
}

// finish deletes what a deleted App leaves, by steps that each wait for the one before. Its bindings go first, by the other
// controllers; then its groups, whole, without removing members one by one, and its users; then what reserves their names;
// then the finalizer. Everything is read live: nothing of an App may outlive the App by a late informer.
func (r *Reconciler) finish(ctx context.Context, app *v1alpha1.App) (reconcile.Result, error) {
	if !controllerutil.ContainsFinalizer(app, v1alpha1.FinalizerApp) {
		return reconcile.Result{}, r.writeHeld(ctx, app)
	}
	if app.Spec.DeletionPolicy == v1alpha1.DeletionPolicyDelete {
		rest, err := r.deleteRest(ctx, app)
		if err != nil {
			return reconcile.Result{}, err
		}
		if rest != "" {
			return reconcile.Result{RequeueAfter: deletionStep}, r.writeDeletion(ctx, app, rest)
		}
	}
	before := app.DeepCopy()
	controllerutil.RemoveFinalizer(app, v1alpha1.FinalizerApp)
	if err := r.Client.Patch(ctx, app, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	return reconcile.Result{}, client.IgnoreNotFound(r.writeHeld(ctx, app))
}

// writeHeld tells in the status of an App, of which this operator has nothing left to delete, that finalizers of others hold it: it
// grants nothing, whatever its conditions said before.
func (r *Reconciler) writeHeld(ctx context.Context, app *v1alpha1.App) error {
	if len(app.Finalizers) == 0 {
		return nil
	}
	before := app.Status.DeepCopy()
	observe(app)
	set(app, metav1.Condition{
		Type: v1alpha1.ConditionReady, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonDeleted,
		Message: clip.Text("The App is being deleted, and grants nothing. Finalizers of others hold it: "+strings.Join(app.Finalizers, ", ")+".", maxMissingMessage),
	})
	set(app, metav1.Condition{
		Type: v1alpha1.ConditionReconciling, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonDeleted, Message: "This operator has nothing left to delete.",
	})
	return r.writeStatus(ctx, app, before)
}

// deleteRest does one round, and tells what is left; "" for nothing.
func (r *Reconciler) deleteRest(ctx context.Context, app *v1alpha1.App) (string, error) {
	var bindings v1alpha1.AppRoleBindingList
	if err := r.list(ctx, app, &bindings); err != nil {
		return "", err
	}
	if len(bindings.Items) > 0 {
		return fmt.Sprintf("%s role bindings are left.", atLeast(len(bindings.Items))), nil
	}
	var groups v1alpha1.GroupList
	if err := r.list(ctx, app, &groups); err != nil {
		return "", err
	}
	if err := each(ctx, groups.Items, func(ctx context.Context, group *v1alpha1.Group) error { return r.deleteGroup(ctx, group) }); err != nil {
		return "", err
	}
	var users v1alpha1.UserList
	if err := r.list(ctx, app, &users); err != nil {
		return "", err
	}
	if err := each(ctx, users.Items, func(ctx context.Context, user *v1alpha1.User) error { return r.delete(ctx, user) }); err != nil {
		return "", err
	}
	if len(groups.Items) > 0 || len(users.Items) > 0 {
		return fmt.Sprintf("%s users and %s groups are left.", atLeast(len(users.Items)), atLeast(len(groups.Items))), nil
	}
	return "", r.releaseNames(ctx, app)
}

// list reads up to deleteInAll objects of an App live.
func (r *Reconciler) list(ctx context.Context, app *v1alpha1.App, list client.ObjectList) error {
	return r.Live.List(ctx, list, client.InNamespace(app.Namespace), client.MatchingFields{"spec.app": app.Name}, client.Limit(deleteInAll))
}

func atLeast(count int) string {
	if count == deleteInAll {
		return fmt.Sprintf("%d or more", count)
	}
	return fmt.Sprint(count)
}

func each[T any](ctx context.Context, items []T, f func(context.Context, *T) error) error {
	workers, ctx := errgroup.WithContext(ctx)
	workers.SetLimit(deleteAtOnce)
	for i := range items {
		workers.Go(func() error { return f(ctx, &items[i]) })
	}
	return workers.Wait()
}

func (r *Reconciler) delete(ctx context.Context, object client.Object) error {
	if !object.GetDeletionTimestamp().IsZero() {
		return nil
	}
	uid := object.GetUID()
	return client.IgnoreNotFound(r.Live.Delete(ctx, object, client.Preconditions{UID: &uid}))
}

// deleteGroup deletes a group, the shards of its members and the claim of its name.
func (r *Reconciler) deleteGroup(ctx context.Context, group *v1alpha1.Group) error {
	if err := r.delete(ctx, group); err != nil {
		return err
	}
	if err := membership.New(membership.NewStore(r.Live, group.Namespace, nil), membership.InlineLimit).RemoveShards(ctx, group); err != nil {
		return err
	}
	return claims.ForGroups(r.Live, group.Namespace).Release(ctx, group)
}

// releaseNames lets go of what reserves a name for a user or group of the App: the rule of package claims holds, and there
// is none of either.
func (r *Reconciler) releaseNames(ctx context.Context, app *v1alpha1.App) error {
	ofApp := func(attribute string) func(*v1alpha1.NameClaim) bool {
		return func(claim *v1alpha1.NameClaim) bool {
			return claim.Spec.App == app.Name && claim.Spec.Attribute == attribute
		}
	}
	if _, err := claims.Sweep(ctx, r.Live, app.Namespace, claims.ForUsers(r.Live, app.Namespace), ofApp(v1alpha1.ClaimUserName)); err != nil {
		return err
	}
	for _, attribute := range claims.AllOtherNames() {
		if _, err := claims.Sweep(ctx, r.Live, app.Namespace, claims.ForUsersBy(r.Live, app.Namespace, attribute), ofApp(attribute)); err != nil {
			return err
		}
	}
	_, err := claims.Sweep(ctx, r.Live, app.Namespace, claims.ForGroups(r.Live, app.Namespace), ofApp(v1alpha1.ClaimDisplayName))
	return err
}

// writeDeletion tells in the App's status how far its deletion has come.
func (r *Reconciler) writeDeletion(ctx context.Context, app *v1alpha1.App, rest string) error {
	before := app.Status.DeepCopy()
	observe(app)
	app.Status.Users, app.Status.ActiveUsers = r.users.get(client.ObjectKeyFromObject(app))
	set(app, metav1.Condition{
		Type: v1alpha1.ConditionReady, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonDeleted,
		Message: "The App is being deleted, and its users and groups with it.",
	})
	set(app, metav1.Condition{
		Type: v1alpha1.ConditionReconciling, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonProgressing, Message: rest,
	})
	return r.writeStatus(ctx, app, before)
}
