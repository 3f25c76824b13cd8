package security_test

import (
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/config"
	"github.com/scim-operator/scim-operator/hack/localoperator"
)

// With a definition go all objects, and with these all access. Deleting one takes an annotation, for every user.
func TestDefinitionsAreKept(t *testing.T) {
	objects, err := localoperator.ReadObjects(config.FS, "crd/bases")
	must(t, err)
	dryRun := client.NewDryRunClient(operator.Env.Client)
	for _, object := range objects {
		t.Run(object.GetName(), func(t *testing.T) {
			err := dryRun.Delete(t.Context(), object.DeepCopy())
			refusedBy(t, err, "scim-operator-definitions", "deletes every", v1alpha1.AnnotationAllowDeletion)
		})
	}
	definition := objects[0]
	for value, allowed := range map[string]bool{`"no"`: false, `"true"`: true, `null`: false} {
		patch := mergePatch(`{"metadata":{"annotations":{"` + v1alpha1.AnnotationAllowDeletion + `":` + value + `}}}`)
		must(t, operator.Env.Client.Patch(t.Context(), definition.DeepCopy(), patch))
		err := dryRun.Delete(t.Context(), definition.DeepCopy())
		if allowed && err != nil || !allowed && !apierrors.IsForbidden(err) {
			t.Errorf("with the annotation %s, a deletion is answered with error %v", value, err)
		}
	}
	must(t, operator.Env.Client.Patch(t.Context(), definition.DeepCopy(), mergePatch(`{"metadata":{"annotations":{"`+v1alpha1.AnnotationAllowDeletion+`":null}}}`)))
}
