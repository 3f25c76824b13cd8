package controllers_test

import (
	"fmt"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/token"
)

// A tenant with very many ScimTokens, all of which get another status at once, keeps no token of another tenant waiting for the last of
// them.
func TestManyTokensCostOnlyTheirTenant(t *testing.T) {
	const count = 60
	w, bystander := withBystander(t, nil)
	for i := range count {
		tokens{w}.newUnlistedToken(fmt.Sprint("token-", i), v1alpha1.ScimTokenSpec{Digest: token.Digest(fmt.Sprint(w.namespace, i))})
	}
	digest := token.Digest(bystander.namespace)
	update(bystander, bystander.app, func(app *v1alpha1.App) {
		app.Spec.Tokens = []v1alpha1.AcceptedToken{{Name: "okta", Digest: digest}}
	})
	w.start()
	// with counts the tokens with a condition for a reason.
	with := func(reason string) (found int) {
		w.Helper()
		var list v1alpha1.ScimTokenList
		if err := env.Client.List(w.ctx, &list, client.InNamespace(w.namespace)); err != nil {
			w.Fatal(err)
		}
		for i := range list.Items {
			for _, condition := range list.Items[i].Status.Conditions {
				if condition.Type == v1alpha1.ConditionReady && condition.Reason == reason {
					found++
				}
			}
		}
		return found
	}
	w.eventually(func() string { return unless(with(v1alpha1.ReasonNotAccepted) == count, "all tokens are refused") })
	if err := env.Client.Delete(w.ctx, w.app); err != nil {
		t.Fatal(err)
	}
	w.eventually(func() string { return unless(with(v1alpha1.ReasonAppNotFound) > 0, "a token's App is gone") })
	object := tokens{bystander}.newUnlistedToken("okta", v1alpha1.ScimTokenSpec{Digest: digest})
	bystander.eventuallyCondition(object, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonValid)
	if told := with(v1alpha1.ReasonAppNotFound); told == count {
		t.Error("all tokens of the other tenant came before")
	} else {
		t.Logf("%d of %d tokens of the other tenant came before", told, count)
	}
	w.eventually(func() string {
		return unless(with(v1alpha1.ReasonAppNotFound) == count, "every token says that its App is gone")
	})
}
