package app

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/controllers/policycheck"
)

// reasonPoliciesMissing says that the cluster lacks admission policies of this version, or has others in their place.
const reasonPoliciesMissing = "PoliciesMissing"

// reasonDefinitionsDiffer says that the cluster lacks CustomResourceDefinitions of this version, or has others in their place.
const reasonDefinitionsDiffer = "DefinitionsDiffer"

// setPolicies says where the admission policies are not in place. It names none: tenants read this, and administrators of the
// cluster have the log, the Event and the status page. An App of a cluster that has them has no such condition.
func (r *Reconciler) setPolicies(app *v1alpha1.App) {
	setInstalled(app, r.PolicyCheck, v1alpha1.ConditionPoliciesInPlace, reasonPoliciesMissing,
		"%d of the %d admission policies and bindings of this operator are missing, changed or unreadable: where they are not in force, "+
			"RBAC alone bounds what accounts of this cluster write. The administrator of the cluster installs them again; the controller's log names them.")
}

// setDefinitions does it for the CustomResourceDefinitions that are not those of this version.
func (r *Reconciler) setDefinitions(app *v1alpha1.App) {
	setInstalled(app, r.DefinitionCheck, v1alpha1.ConditionDefinitionsInPlace, reasonDefinitionsDiffer,
		"%d of the %d CustomResourceDefinitions of this operator are missing, unreadable or not those of its version: the API server drops fields "+
			"that this version writes, and takes values that it refuses. The administrator of the cluster installs those of this version; the controller's log names them.")
}

// setInstalled sets the condition of a check that found something, and removes it where all is in place. The message counts what was found, of
// how many.
func setInstalled(app *v1alpha1.App, check *policycheck.Checker, condition, reason, message string) {
	findings, all, known := check.Result()
	switch {
	case !known: // the former leader's word stands until the cluster's objects are read
	case len(findings) == 0:
		meta.RemoveStatusCondition(&app.Status.Conditions, condition)
	default:
		set(app, metav1.Condition{Type: condition, Status: metav1.ConditionFalse, Reason: reason, Message: fmt.Sprintf(message, len(findings), all)})
	}
}

// installationChanged has the status of all Apps written. A process that does not lead yet writes it when it does.
func (r *Reconciler) installationChanged() {
	apps := &v1alpha1.AppList{}
	if err := r.Client.List(context.Background(), apps, client.UnsafeDisableDeepCopy); err != nil {
		return // the informer of Apps was started before: it ends with the process
	}
	for i := range apps.Items {
		r.statusChanged(client.ObjectKeyFromObject(&apps.Items[i]))
	}
}
