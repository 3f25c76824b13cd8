package user

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// endAccess takes every role from a user that may have no access, and has its requests denied where the App asks for it.
// Both are under way at once.
func (l leaver) endAccess(ctx context.Context) error {
	bound, err := l.Syncer.Bound(ctx, l.name)
	if err != nil {
		return err
	}
	names := slices.Compact(slices.Sorted(maps.Values(bound)))
	if len(names) > 0 && l.user.Status.BoundAs == "" && (l.app == nil || l.app.Spec.Mode != v1alpha1.ModeObserve) {
		// The status was not written since the binding was.
		l.verdict.boundAs = names[0]
	}
	denied := make(chan error, 1)
	go func() { denied <- l.Revocations.Revoke(ctx, l.user, names) }()
	return errors.Join(l.revokeAll(ctx), <-denied)
}

// denyFormerName has requests denied under the name that a user had before a rename. A change of the App's naming is no
// rename.
func (e *evaluation) denyFormerName(ctx context.Context, before *v1alpha1.UserStatus) error {
	former := e.late.formerName(e.user, before)
	if former == "" {
		return nil
	}
	return e.Revocations.Renamed(ctx, e.user, former)
}

// otherBindings are what bindings that are not the user's still give after its access was revoked.
type otherBindings struct {
	list  []v1alpha1.ResidualAccess
	count int
}

func (l leaver) findResidual(ctx context.Context) error {
	var mapping *v1alpha1.KubernetesMapping
	if l.app != nil {
		mapping = &l.app.Spec.Kubernetes
	}
	list, count, err := l.Residual.Of(ctx, l.user, mapping)
	if err == nil {
		l.verdict.foundResidual(otherBindings{list: list, count: count})
	}
	return err
}

func (v *verdict) foundResidual(found otherBindings) {
	v.residual = &found
	if found.count == 0 {
		v.residualAccess = condition(v1alpha1.ConditionResidualAccess, false, v1alpha1.ReasonNoOtherBindings, "No other binding names the person.")
		return
	}
	first := found.list[0]
	by, message := "a binding by other hands", fmt.Sprintf("%s %s names %s and binds %s", first.Kind, nameIn(first.Namespace, first.Name), first.Subject, first.Role)
	if first.App != "" {
		by = "a binding of App " + first.App
		v.boundByOther(first)
	}
	if found.count > 1 {
		message += fmt.Sprintf("; and %d more", found.count-1)
	}
	v.residualAccess = condition(v1alpha1.ConditionResidualAccess, true, v1alpha1.ReasonOtherBindings, sentence(by+" still gives access: "+message))
}

// boundByOther says of a revocation that a binding of this operator names the Kubernetes user all the same: another User goes by
// that name.
func (v *verdict) boundByOther(binding v1alpha1.ResidualAccess) {
	message := fmt.Sprintf("The person's roles are gone, but %s %s of App %s names %s: another User of that App has the same Kubernetes name.",
		binding.Kind, nameIn(binding.Namespace, binding.Name), binding.App, binding.Subject)
	v.revocation = condition(v1alpha1.ConditionAccessRevoked, false, v1alpha1.ReasonBoundByOther, message)
	v.ready = condition(v1alpha1.ConditionReady, false, v1alpha1.ReasonBoundByOther, message)
}

// emitResidual writes one event when what is left appears or becomes another.
func (e report) emitResidual(before, after *v1alpha1.UserStatus) {
	same := before.ResidualAccessCount == after.ResidualAccessCount && apiequality.Semantic.DeepEqual(before.ResidualAccess, after.ResidualAccess)
	if after.ResidualAccessCount == 0 || same {
		return
	}
	e.Recorder.Eventf(e.user, nil, corev1.EventTypeWarning, "ResidualAccess", "Report", "%s", e.verdict.residualAccess.Message)
}

func nameIn(namespace, name string) string {
	if namespace == "" {
		return name
	}
	return namespace + "/" + name
}
