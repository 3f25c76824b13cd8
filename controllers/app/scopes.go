package app

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/access"
)

const (
	// maxMissing is what the schema admits of status.missingScopes; maxMissingMessage of one's message.
	maxMissing        = 32
	maxMissingMessage = 1024
)

// namespaces that there are and that are not being deleted, with their labels.
func (r *Reconciler) namespaces(ctx context.Context) (map[string]labels.Set, error) {
	list := &metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("NamespaceList"))
	if err := r.Client.List(ctx, list, client.UnsafeDisableDeepCopy); err != nil {
		return nil, err
	}
	there := make(map[string]labels.Set, len(list.Items))
	for i := range list.Items {
		if list.Items[i].DeletionTimestamp.IsZero() {
			there[list.Items[i].Name] = list.Items[i].Labels
		}
	}
	return there, nil
}

// missingScopes returns the scopes of an App that no namespace is in, sorted by name.
func missingScopes(scopes []access.Scope, there map[string]labels.Set) []v1alpha1.MissingScope {
	var missing []v1alpha1.MissingScope
	for _, scope := range scopes {
		if message := whyMissing(scope, there); message != "" {
			missing = append(missing, v1alpha1.MissingScope{Name: scope.Name, Message: message})
		}
	}
	slices.SortFunc(missing, func(a, b v1alpha1.MissingScope) int { return cmp.Compare(a.Name, b.Name) })
	return missing
}

// namespacesOf yields the namespaces of a scope that exist, in no order; none of one that is clusterWide.
func namespacesOf(scope access.Scope, existing map[string]labels.Set) iter.Seq[string] {
	return func(yield func(string) bool) {
		switch {
		case scope.ClusterWide:
		case scope.Selector != nil:
			for name, set := range existing {
				if scope.Selector.Matches(set) && !yield(name) {
					return
				}
			}
		default:
			for _, name := range scope.Namespaces {
				if _, exists := existing[name]; exists && !yield(name) {
					return
				}
			}
		}
	}
}

// whyMissing tells why a scope holds nowhere; "" where it holds somewhere.
func whyMissing(scope access.Scope, there map[string]labels.Set) string {
	if scope.ClusterWide {
		return ""
	}
	for range namespacesOf(scope, there) {
		return ""
	}
	if scope.Selector != nil {
		return shorten(fmt.Sprintf("No namespace has the labels of scope %q: %s.", scope.Name, scope.Written()))
	}
	return shorten(fmt.Sprintf("No namespace of scope %q exists: %s.", scope.Name, strings.Join(scope.Namespaces, ", ")))
}

func shorten(text string) string {
	if runes := []rune(text); len(runes) > maxMissingMessage {
		return string(runes[:maxMissingMessage-1]) + "…"
	}
	return text
}

func scopesCondition(missing []v1alpha1.MissingScope) metav1.Condition {
	if len(missing) == 0 {
		return metav1.Condition{
			Type: v1alpha1.ConditionScopesFound, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonScopesFound,
			Message: "Each scope has a namespace.",
		}
	}
	const shown = 10
	var names []string
	for i := range missing[:min(len(missing), shown)] {
		names = append(names, fmt.Sprintf("%q", missing[i].Name))
	}
	if len(missing) > shown {
		names = append(names, fmt.Sprintf("and %d more", len(missing)-shown))
	}
	return metav1.Condition{
		Type: v1alpha1.ConditionScopesFound, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonMissingScope,
		Message: "No namespace is in " + strings.Join(names, ", ") + ": roles held there are bound as soon as one is.",
	}
}

// enqueueApps has the Apps looked at for which is returns true.
func (r *Reconciler) enqueueApps(ctx context.Context, q queue, is func(*v1alpha1.App) bool) {
	var list v1alpha1.AppList
	if err := r.Client.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
		return // an informer's list does not fail once it is synchronised, and before that every App comes as an event
	}
	for i := range list.Items {
		if app := &list.Items[i]; is(app) {
			q.AddAfter(reconcile.Request{NamespacedName: client.ObjectKeyFromObject(app)}, scopeDelay)
		}
	}
}

// watchNamespaces has every App looked at when a namespace comes, goes or gets other labels.
func (r *Reconciler) watchNamespaces() handler.TypedEventHandler[*metav1.PartialObjectMetadata, reconcile.Request] {
	enqueue := func(ctx context.Context, q queue) {
		r.grants.changed()
		r.enqueueApps(ctx, q, func(*v1alpha1.App) bool { return true })
	}
	type object = *metav1.PartialObjectMetadata
	return handler.TypedFuncs[object, reconcile.Request]{
		CreateFunc: func(ctx context.Context, e event.TypedCreateEvent[object], q queue) {
			if !e.IsInInitialList {
				enqueue(ctx, q)
			}
		},
		UpdateFunc: func(ctx context.Context, e event.TypedUpdateEvent[object], q queue) {
			if !labels.Equals(e.ObjectOld.Labels, e.ObjectNew.Labels) || e.ObjectOld.DeletionTimestamp.IsZero() != e.ObjectNew.DeletionTimestamp.IsZero() {
				enqueue(ctx, q)
			}
		},
		DeleteFunc: func(ctx context.Context, _ event.TypedDeleteEvent[object], q queue) { enqueue(ctx, q) },
	}
}
