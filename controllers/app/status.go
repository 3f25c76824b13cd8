package app

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/controllers/removalguard"
	"github.com/scim-operator/scim-operator/internal/access"
	"github.com/scim-operator/scim-operator/internal/earned"
)

// observe has the status be about the App as it is. One without its UID would count as none.
func observe(app *v1alpha1.App) {
	app.Status.UID, app.Status.ObservedGeneration = string(app.UID), app.Generation
}

func set(app *v1alpha1.App, condition metav1.Condition) {
	condition.ObservedGeneration = app.Generation
	meta.SetStatusCondition(&app.Status.Conditions, condition)
}

// setEvaluation says how far the evaluation of the App's users has come, and whether this process evaluated all of them.
func (r *Reconciler) setEvaluation(app *v1alpha1.App) (evaluated bool) {
	name := client.ObjectKeyFromObject(app)
	done := int32(r.Index.Evaluated(earned.AppGenerationOf(app, r.Policies)))
	users := app.Status.Users
	app.Status.Evaluation = evaluationOf(app.Status.Evaluation, app.Generation, users, done, r.Progress.lastError(name))
	through := isThrough(app.Status.Evaluation)
	if through {
		r.Progress.through(name)
		set(app, metav1.Condition{
			Type: v1alpha1.ConditionReconciling, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonReady,
			Message: "Every user was evaluated for this specification.",
		})
	} else {
		set(app, metav1.Condition{
			Type: v1alpha1.ConditionReconciling, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonProgressing,
			Message: "Users are evaluated for this specification: status.evaluation tells how far that has come.",
		})
	}
	return through && done >= users
}

// setSpec says whether the specification is sound and can be honoured, and which of its scopes no namespace is in. It returns
// whether users are evaluated by it, and when to look again at what no watch tells of.
func (r *Reconciler) setSpec(ctx context.Context, app *v1alpha1.App) (valid bool, again time.Duration, err error) {
	policy, fieldErrors, err := CompileInTurn(ctx, r.Client, r.Policies, r.Evaluations, app, atOnce)
	if err != nil {
		return false, 0, err
	}
	if len(fieldErrors) > 0 {
		set(app, notReady(v1alpha1.ReasonInvalidSpec, access.Message(fieldErrors)))
		app.Status.MissingScopes = nil
		meta.RemoveStatusCondition(&app.Status.Conditions, v1alpha1.ConditionScopesFound)
		meta.RemoveStatusCondition(&app.Status.Conditions, v1alpha1.ConditionExpressionsEvaluated)
		return false, 0, nil
	}
	r.setExpressions(app, policy)
	existing, err := r.namespaces(ctx)
	if err != nil {
		return false, 0, err
	}
	missing := r.setMissing(app, policy, existing)
	problems, again, err := r.checkGrants(ctx, app, policy, existing)
	if err != nil {
		return false, 0, err
	}
	problems = append(slices.Clone(problems), scopeProblems(policy.Scopes(), missing, existing)...)
	set(app, readyCondition(problems))
	return true, again, nil
}

func notReady(reason, message string) metav1.Condition {
	return metav1.Condition{Type: v1alpha1.ConditionReady, Status: metav1.ConditionFalse, Reason: reason, Message: message}
}

// readyCondition is that of an App with a valid specification. Its reason is that of the first problem.
func readyCondition(problems []grantProblem) metav1.Condition {
	if len(problems) == 0 {
		return metav1.Condition{
			Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonReady,
			Message: "The specification is sound, and the controller may bind all that it grants.",
		}
	}
	texts := make([]string, len(problems))
	for i := range problems {
		texts[i] = problems[i].message
	}
	text := strings.Join(texts, "; ")
	return notReady(problems[0].reason, strings.ToUpper(text[:1])+text[1:]+".")
}

// scopeProblems says what keeps the scopes of an App from holding where it says: a selector takes in a namespace that has to be
// named, or none of the scopes has a namespace, so that nothing can be granted at all. One scope of several that has none
// yet is told by the condition ScopesFound alone.
func scopeProblems(scopes []access.Scope, missing []v1alpha1.MissingScope, existing map[string]labels.Set) []grantProblem {
	var problems []grantProblem
	for i := range scopes {
		if names := scopes[i].LeftOut(existing); len(names) > 0 && len(problems) < maxUnbindable {
			problems = append(problems, grantProblem{v1alpha1.ReasonProtectedNamespace, fmt.Sprintf(
				"the selector of scope %q takes in %s, where nothing is bound: leave it out by its label %s, or name it there or in namespaces",
				scopes[i].Name, strings.Join(names, " and "), corev1.LabelMetadataName)})
		}
	}
	if len(missing) == len(scopes) {
		problems = append(problems, grantProblem{v1alpha1.ReasonMissingScope, "no namespace is in any scope, so that nothing can be granted: status.missingScopes tells what is missing"})
	}
	return problems
}

// setExpressions says whether the App's expressions have a result for each user.
func (r *Reconciler) setExpressions(app *v1alpha1.App, policy *access.Policy) {
	if !policy.UsesExpressions() {
		meta.RemoveStatusCondition(&app.Status.Conditions, v1alpha1.ConditionExpressionsEvaluated)
		return
	}
	evaluated := metav1.Condition{
		Type: v1alpha1.ConditionExpressionsEvaluated, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonReady,
		Message: "The expressions of roles have a result for each user.",
	}
	counts, roles := r.Progress.failed(client.ObjectKeyFromObject(app))
	var texts []string
	if counts[true] > 0 {
		evaluated.Reason = access.ReasonExpressionTooExpensive
		texts = append(texts, fmt.Sprintf("for %d users the expressions cost more than the budget of one user, role %q is one of those left out: "+
			"shorten loops, or earn roles by groups and attributes", counts[true], roles[true]))
	}
	if counts[false] > 0 {
		texts = append(texts, fmt.Sprintf("for %d users an expression failed, role %q has one of them: guard attributes by has() or type()", counts[false], roles[false]))
	}
	if len(texts) > 0 {
		evaluated.Status = metav1.ConditionFalse
		evaluated.Message = "What has no result earns nothing: " + strings.Join(texts, "; ") + ". The condition Ready of each user tells why."
		if counts[true] == 0 {
			evaluated.Reason = access.ReasonExpressionFailed
		}
	}
	set(app, evaluated)
}

// setMissing returns the scopes without a namespace.
func (r *Reconciler) setMissing(app *v1alpha1.App, policy *access.Policy, existing map[string]labels.Set) []v1alpha1.MissingScope {
	missing := missingScopes(policy.Scopes(), existing)
	set(app, scopesCondition(missing))
	app.Status.MissingScopes = missing[:min(len(missing), maxMissing)]
	return missing
}

// setRemovals says what spec.safety counted and holds, and how to release it. It must be called only for an App with a valid
// specification: no user is evaluated by an invalid one, and what was held stays so.
func (r *Reconciler) setRemovals(ctx context.Context, app *v1alpha1.App, evaluated bool) error {
	removals, err := r.Guard.Status(ctx, app, evaluated)
	if err != nil {
		return err
	}
	app.Status.Removals = removals
	if removals == nil {
		meta.RemoveStatusCondition(&app.Status.Conditions, v1alpha1.ConditionRemovalsHeld)
		return nil
	}
	held := metav1.Condition{
		Type: v1alpha1.ConditionRemovalsHeld, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonNoneHeld, Message: "No removal of a role is held.",
	}
	if removals.Held > 0 {
		held.Status, held.Reason = metav1.ConditionTrue, v1alpha1.ReasonTooManyRemovals
		held.Message = fmt.Sprintf("%d people keep roles that they do not earn any more: changes of groups or of the App would have taken "+
			"roles from more than %d people within %v. To let all of them go: kubectl annotate sapp %s -n %s %s=<any new value> --overwrite",
			removals.Held, app.Spec.Safety.MaxRemovals, removalguard.WindowOf(app.Spec.Safety), app.Name, app.Namespace, v1alpha1.AnnotationReleaseRemovals)
	}
	set(app, held)
	return nil
}

// statusReplaced has an App looked at when its status was put back from a backup: until the next write it tells of another App.
var statusReplaced = predicate.TypedFuncs[*v1alpha1.App]{
	UpdateFunc: func(e event.TypedUpdateEvent[*v1alpha1.App]) bool { return e.ObjectNew.HasForeignStatus() },
}
