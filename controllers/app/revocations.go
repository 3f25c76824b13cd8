package app

import (
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// reasonListFull says that the App's RevocationList leaves users out.
const reasonListFull = "ListFull"

// setRevocations says whether the App's RevocationList names each leaver of a day. An App that denies no requests has no
// such condition.
func (r *Reconciler) setRevocations(app *v1alpha1.App) {
	if !app.Spec.Deactivation.DenyRequests {
		meta.RemoveStatusCondition(&app.Status.Conditions, v1alpha1.ConditionRevocationsListed)
		return
	}
	omitted, known := r.Revocations.Omitted(client.ObjectKeyFromObject(app))
	if !known {
		return // the former leader's word stands until the lists are read
	}
	listed := metav1.Condition{
		Type: v1alpha1.ConditionRevocationsListed, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonReady,
		Message: "The App's RevocationList names each user that left within 24 hours.",
	}
	if omitted > 0 {
		listed.Status, listed.Reason = metav1.ConditionFalse, reasonListFull
		listed.Message = fmt.Sprintf("%d users that left within 24 hours are not on the App's RevocationList, which holds %d names: the ones that "+
			"left first, and names of more than %d bytes. The App's bindings name them no more. What other bindings, tokens or "+
			"certificates give them, admission does not deny: remove those, see status.residualAccess of each user, or run the authorizer.",
			omitted, v1alpha1.MaxRevocations, v1alpha1.MaxRevokedName)
	}
	set(app, listed)
}
