package user

import (
	"context"
	"errors"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/controllers/app"
	"github.com/scim-operator/scim-operator/controllers/group"
	"github.com/scim-operator/scim-operator/internal/access"
	"github.com/scim-operator/scim-operator/internal/earned"
	"github.com/scim-operator/scim-operator/internal/leadership"
)

const (
	// conflictDelay is how long a reconcile that met a newer User waits for the informer to show it.
	conflictDelay = 5 * time.Millisecond
	// notLeadingDelay is how long a reconcile waits after its write was not sent for want of the Lease. The delays of the
	// rate limiter do not fit: they are forgotten whenever a reconcile asks for bindings, and otherwise outlast the cause by
	// up to a minute.
	notLeadingDelay = 250 * time.Millisecond
)

// evaluation is one reconcile of one User that exists.
type evaluation struct {
	*Reconciler
	user *v1alpha1.User
	name types.NamespacedName
	// app is nil where it is gone.
	app *v1alpha1.App
	// kept are keys that the person holds for now without having earned them.
	kept map[earned.RoleInScope]bool
	// failed are keys held that are not bound in full, with the reason.
	failed map[earned.RoleInScope]error
	// causes are the changes of groups that this evaluation takes into account.
	causes []*group.Cause
	// now is the time that the evaluation holds ends of roles against.
	now time.Time
	// verdict is what the status will say.
	verdict verdict
}

// report tells of an evaluation: Events, the audit log, metrics, and what the App's status counts.
type report struct{ *evaluation }

func (e *evaluation) report() report { return report{e} }

// Reconcile brings the access of one User in line with what it earned. A conflict is no error: the User comes back after a
// moment. It returns the other errors of the API server and of runs.
func (r *Reconciler) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	e := &evaluation{
		Reconciler: r, name: request.NamespacedName, user: &v1alpha1.User{}, causes: r.causes.known(request.NamespacedName), now: time.Now(),
	}
	r.recent.reconsider(e.name)
	if err := r.Client.Get(ctx, e.name, e.user); err != nil {
		if apierrors.IsNotFound(err) {
			return reconcile.Result{}, r.gone(ctx, e.name)
		}
		return reconcile.Result{}, err
	}
	if err := e.fetchApp(ctx); err != nil {
		return reconcile.Result{}, err
	}
	ctx, span := e.report().trace(ctx)
	defer span.End()
	result, err := e.reconcile(ctx)
	switch {
	case errors.Is(err, errPending):
		return reconcile.Result{}, nil
	case errors.Is(err, errLeftOut):
		return reconcile.Result{RequeueAfter: leftOutDelay}, nil
	case apierrors.IsConflict(err), errors.Is(err, access.ErrInterrupted):
		return reconcile.Result{RequeueAfter: conflictDelay}, nil
	case errors.Is(err, leadership.ErrNotLeading):
		return reconcile.Result{RequeueAfter: notLeadingDelay}, nil
	case err != nil:
		span.Fail("failed")
	}
	e.report().recordFailure(err)
	return result, err
}

func (e *evaluation) reconcile(ctx context.Context) (reconcile.Result, error) {
	if !e.user.MayHaveAccess() {
		return leaver{e}.reconcileInactive(ctx)
	}
	if e.app == nil {
		return e.withhold(ctx, v1alpha1.ReasonAppNotFound, "The App "+e.user.Spec.App+" does not exist, or is being deleted.")
	}
	retry, err := e.verifyName(ctx)
	if err != nil {
		return reconcile.Result{}, err
	}
	if !e.verdict.reserved() {
		return e.withholdUnclaimed(ctx, retry)
	}
	taken, err := e.claimOtherNames(ctx)
	if err != nil {
		return reconcile.Result{}, err
	}
	if taken != "" {
		return e.withholdSharedName(ctx, taken)
	}
	if e.verdict.subject, err = access.Subject(e.app.Spec.Kubernetes, &e.user.Spec); err != nil {
		return e.withholdNameless(ctx, err)
	}
	policy, fieldErrors, err := app.CompileInTurn(ctx, e.Client, e.Policies, e.Evaluations, e.app, nil)
	if err != nil {
		return reconcile.Result{}, err
	}
	if len(fieldErrors) > 0 {
		return e.freeze(ctx, access.Message(fieldErrors))
	}
	return e.grant(ctx, policy)
}

func (e *evaluation) fetchApp(ctx context.Context) error {
	current := &v1alpha1.App{}
	err := e.Client.Get(ctx, client.ObjectKey{Namespace: e.name.Namespace, Name: e.user.Spec.App}, current, client.UnsafeDisableDeepCopy)
	if client.IgnoreNotFound(err) != nil {
		return err
	}
	if err == nil && current.DeletionTimestamp.IsZero() {
		e.app = current
	}
	return nil
}

// grant binds the roles that the policy gives, takes away others, and writes the status.
func (e *evaluation) grant(ctx context.Context, policy *access.Policy) (reconcile.Result, error) {
	groups, err := e.groupsOf(ctx, policy)
	if err != nil {
		return reconcile.Result{}, err
	}
	e.causes = e.Reconciler.causes.known(e.name)
	decision, err := e.evaluate(ctx, policy, groups)
	if err != nil {
		return reconcile.Result{}, err
	}
	e.report().recordExpressions(&decision)
	decision.Problems = append(decision.Problems, e.missingScopes(decision.Roles)...)
	keys := e.keysOf(decision.Roles)
	kept, err := e.keepHeld(ctx, policy, keys)
	if err != nil {
		return reconcile.Result{}, err
	}
	e.watchEnds(slices.Concat(decision.Roles, kept))
	removed := func() {}
	if _, evaluated := e.Index.Get(e.name); !evaluated && access.AnyEnded(e.user.Status.Roles, e.now) {
		// It ended while no controller ran. At other times an end is a loss of a role, which keeps nothing waiting.
		removed = e.Syncer.Removals.Begin()
		defer removed()
	}
	e.kept = e.keysOf(kept)
	for key := range e.kept {
		keys[key] = true
	}
	if len(keys) > 0 {
		if err := e.holdDeletion(ctx); err != nil {
			return reconcile.Result{}, err
		}
	}
	failure, err := e.bind(ctx, keys, decision.Groups)
	removed() // the status waits for removals, too
	if err != nil {
		return reconcile.Result{}, err
	}
	e.report().recordFailure(failure)
	if decision.Roles, err = e.markBound(ctx, decision.Roles, policy.Mode()); err != nil {
		return reconcile.Result{}, err
	}
	e.verdict.grantedRoles(decision, policy.Mode(), failure)
	e.verdict.setNoNamespaces(e.app, decision.Roles)
	e.verdict.addHeld(kept)
	e.verdict.setEnds(decision.Ended, false)
	if err := e.checkClusterRoles(ctx); err != nil {
		return reconcile.Result{}, err
	}
	if e.statusWaits(time.Now()) {
		return reconcile.Result{}, nil
	}
	return reconcile.Result{}, e.writeStatus(ctx)
}

// groupsOf returns the groups by which the person may earn roles.
func (e *evaluation) groupsOf(ctx context.Context, policy *access.Policy) ([]access.Group, error) {
	if !policy.UsesGroups() {
		return nil, nil
	}
	return e.Memberships.GroupsOf(ctx, e.appName(), e.name.Name, policy)
}

// withhold takes every role away from a user that is active and must have none.
func (e *evaluation) withhold(ctx context.Context, reason, message string) (reconcile.Result, error) {
	if err := e.revokeAll(ctx); err != nil {
		return reconcile.Result{}, err
	}
	e.verdict.withheld(reason, message)
	return reconcile.Result{}, e.writeStatus(ctx)
}

// revokeAll takes everything away, whatever this person may hold by any account.
func (e *evaluation) revokeAll(ctx context.Context) error {
	bound, err := e.Syncer.Bound(ctx, e.name)
	if err != nil {
		return err
	}
	before, evaluated := e.Index.Get(e.name)
	e.verdict.byGroup = e.isBoundByGroup(before)
	keys := e.keysOf(e.user.Status.Roles)
	if !evaluated {
		// A former leader may have bound the user and died before the status said so, and the AppRoleBinding may have been
		// edited since: only a look at everything tells.
		for _, key := range e.Syncer.Unchecked(ctx, e.appName()) {
			keys[key] = true
		}
	}
	for key := range bound {
		keys[key] = true
	}
	for _, key := range slices.Concat(before.Keys, e.pendingRemovals.of(e.name)) {
		keys[key] = true
	}
	e.ends.forget(e.name)
	e.Index.Set(e.name, earned.Entry{App: e.generation()})
	e.Guard.Settle(e.appName(), e.name.Name)
	e.Progress.Expressions(e.appName(), e.name.Name, app.ExpressionFailure{})
	remove := e.Syncer.SyncRemovals
	switch {
	case e.user.MayHaveAccess():
	case e.user.DeletionTimestamp.IsZero():
		remove = e.Syncer.SyncLeaver
	default:
		remove = e.Syncer.SyncGone
	}
	return e.unbind(ctx, e.name, keys, remove)
}

// gone takes everything away from a User object that vanished.
func (r *Reconciler) gone(ctx context.Context, name types.NamespacedName) error {
	defer r.Syncer.Removals.Begin()()
	bound, err := r.Syncer.Bound(ctx, name)
	if err != nil {
		return err
	}
	before, _ := r.Index.Get(name)
	keys := map[earned.RoleInScope]bool{}
	for key := range bound {
		keys[key] = true
	}
	for _, key := range slices.Concat(before.Keys, r.pendingRemovals.of(name)) {
		keys[key] = true
	}
	lost, err := r.boundRoles(ctx, before)
	if err != nil {
		return err
	}
	r.ends.forget(name)
	r.Index.Set(name, earned.Entry{})
	r.Guard.Settle(before.App.Name, name.Name)
	r.Progress.Expressions(before.App.Name, name.Name, app.ExpressionFailure{})
	if err := r.unbind(ctx, name, keys, r.Syncer.SyncGone); err != nil {
		return err
	}
	for app, roles := range lost {
		writeAudit(name, app, auditChange{action: auditRevoked}, roles)
	}
	r.causes.settle(name, r.causes.known(name))
	r.Index.Forget(name)
	r.Syncer.Cancel(name)
	r.recent.forget(name)
	r.late.forget(name)
	r.Residual.Forget(name)
	r.unclaimed.DeleteEntry(name.String())
	return nil
}

func (e *evaluation) appName() types.NamespacedName {
	return types.NamespacedName{Namespace: e.name.Namespace, Name: e.user.Spec.App}
}

// generation is the state of the App that the person is evaluated for.
func (e *evaluation) generation() earned.AppGeneration {
	if e.app == nil {
		return earned.AppGeneration{}
	}
	return earned.AppGenerationOf(e.app, e.Policies)
}

func (e *evaluation) keyOf(role v1alpha1.EarnedRole) earned.RoleInScope {
	return earned.RoleInScope{Namespace: e.name.Namespace, App: e.user.Spec.App, Role: role.Role, Scope: role.Scope}
}

func (e *evaluation) keysOf(roles []v1alpha1.EarnedRole) map[earned.RoleInScope]bool {
	keys := make(map[earned.RoleInScope]bool, len(roles))
	for _, role := range roles {
		keys[e.keyOf(role)] = true
	}
	return keys
}

// holdDeletion has a deletion of the User wait until its bindings are gone. The server writes Users with the finalizer;
// one that people wrote may lack it.
func (e *evaluation) holdDeletion(ctx context.Context) error {
	if controllerutil.ContainsFinalizer(e.user, v1alpha1.FinalizerAccess) {
		return nil
	}
	before := e.user.DeepCopy()
	controllerutil.AddFinalizer(e.user, v1alpha1.FinalizerAccess)
	return e.Client.Patch(ctx, e.user, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}))
}
