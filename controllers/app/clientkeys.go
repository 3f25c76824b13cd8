package app

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/publickeys"
)

// setClientKeys says which keys of the App's machine clients cannot be read: no client gets in by such a key. It is no part of Ready.
func setClientKeys(app *v1alpha1.App) {
	if app.Spec.OAuth == nil || len(app.Spec.OAuth.MachineClients) == 0 {
		meta.RemoveStatusCondition(&app.Status.Conditions, v1alpha1.ConditionClientKeysRead)
		return
	}
	var problems []string
	for _, machine := range app.Spec.OAuth.MachineClients {
		for i, key := range machine.Keys {
			if _, err := publickeys.Parse(key); err != nil {
				problems = append(problems, fmt.Sprintf("spec.oauth.machineClients: key %d of %s %s", i, machine.ClientID, err))
			}
		}
	}
	if len(problems) > 0 {
		set(app, metav1.Condition{
			Type: v1alpha1.ConditionClientKeysRead, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonKeysNotRead,
			Message: strings.Join(problems, "; ") + ". No client gets in by such a key.",
		})
		return
	}
	set(app, metav1.Condition{
		Type: v1alpha1.ConditionClientKeysRead, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonKeysRead,
		Message: "Each key of the machine clients can be read.",
	})
}
