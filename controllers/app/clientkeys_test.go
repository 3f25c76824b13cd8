package app

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// aKey is a public key of Ed25519.
const aKey = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n"

func TestSetClientKeys(t *testing.T) {
	app := &v1alpha1.App{}
	with := func(keys ...string) *metav1.Condition {
		app.Spec.OAuth = &v1alpha1.OAuth{MachineClients: []v1alpha1.MachineClient{{ClientID: "hr", Keys: keys}}}
		setClientKeys(app)
		return meta.FindStatusCondition(app.Status.Conditions, v1alpha1.ConditionClientKeysRead)
	}
	if got := with(aKey); got == nil || got.Status != metav1.ConditionTrue || got.Reason != v1alpha1.ReasonKeysRead {
		t.Errorf("a key: %+v", got)
	}
	broken := strings.Replace(aKey, "MCow", "MCox", 1)
	if got := with(aKey, broken); got == nil || got.Status != metav1.ConditionFalse || !strings.Contains(got.Message, "key 1 of hr") || strings.Contains(got.Message, "MCox") {
		t.Errorf("a broken key: %+v", got)
	}
	app.Spec.OAuth = nil
	setClientKeys(app)
	if len(app.Status.Conditions) != 0 {
		t.Errorf("without machine clients: %+v", app.Status.Conditions)
	}
}
