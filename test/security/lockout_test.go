package security_test

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// A tenant provisions, deactivates and deletes another tenant's administrator, by the same user name, in an App of their
// own. Even with the right to use that name, it is the tenant's own grants that come and go.
func TestOtherTenantsPeopleKeepTheirAccess(t *testing.T) {
	operator.ShowOnFailure(t)
	victim, attacker := newTenant(t), newTenant(t)
	person := victim.provision(t, "administrator")
	attacker.allowPrefix(t, victim.prefix, "use")

	app := attacker.newApp("lockout")
	app.Spec.Kubernetes.UsernamePrefix, app.Spec.Kubernetes.GroupPrefix = &victim.prefix, &victim.prefix
	scim := attacker.opened(t, app)
	double := assign(t, scim, app, "administrator", "viewer")
	if double.subject != person.subject {
		t.Fatalf("the attacker's App names %s, want %s", double.subject, person.subject)
	}
	attacker.viewSoon(t, person.subject, true)

	_, err := scim.Deactivate(t.Context(), double.Assignment)
	must(t, err)
	must(t, attacker.views(t.Context(), person.subject, false))
	must(t, victim.views(t.Context(), person.subject, true))

	t.Run("denial of requests", func(t *testing.T) {
		denying := mergePatch(`{"spec":{"deactivation":{"denyRequests":true}}}`)
		refusedBy(t, attacker.client.Patch(t.Context(), app.DeepCopy(), denying), prefixesPolicy, "spec.deactivation.denyRequests", `"revoke"`)
		list := listOf(attacker.namespace, app.Name)
		list.Namespace = attacker.namespace
		list.Spec.SetUsers(map[string]time.Time{person.subject: time.Now().Add(time.Hour)})
		refusedBy(t, attacker.client.Create(t.Context(), list.DeepCopy()), writersPolicy)
		// Were it let through, it would mean nothing: only the operator's own namespace counts.
		must(t, attacker.admin.Create(t.Context(), list))
		must(t, victim.mayEdit(t, person.subject).Create(t.Context(), configMap(victim.namespace, "after")))
	})
	must(t, attacker.client.Delete(t.Context(), &v1alpha1.User{ObjectMeta: metav1.ObjectMeta{Namespace: attacker.namespace, Name: double.id}}))
	gone(t, &v1alpha1.User{ObjectMeta: metav1.ObjectMeta{Namespace: attacker.namespace, Name: double.id}})
	must(t, victim.views(t.Context(), person.subject, true))
	user := &v1alpha1.User{}
	must(t, victim.admin.Get(t.Context(), keyOf(victim.namespace, person.id), user))
	if !user.Spec.Active || user.Spec.Suspended {
		t.Errorf("the other tenant's user has active %t, suspended %t", user.Spec.Active, user.Spec.Suspended)
	}
}
