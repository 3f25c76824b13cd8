package controllers_test

import (
	"fmt"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// byEmail makes Kubernetes names of addresses, after a prefix of the test's own.
func byEmail(prefix string) func(*v1alpha1.AppSpec) {
	return func(spec *v1alpha1.AppSpec) {
		spec.Kubernetes = v1alpha1.KubernetesMapping{UsernamePrefix: &prefix, UsernameFrom: v1alpha1.IdentifierEmail}
	}
}

// withEmail provisions a user with an address.
func (d *directory) withEmail(userName, email string, attributes string) *v1alpha1.User {
	d.Helper()
	user := d.newUser(userName, attributes)
	user.Spec.Emails = []v1alpha1.MultiValue{{Value: email, Type: "work", Primary: true}}
	return d.provision(user)
}

func (k *cluster) eventuallyNameTaken(user *v1alpha1.User) {
	k.Helper()
	taken := k.eventuallyCondition(user, v1alpha1.ConditionAccessGranted, metav1.ConditionFalse, v1alpha1.ReasonKubernetesNameTaken)
	if !strings.Contains(taken.Message, "email") || strings.Contains(taken.Message, "user-") {
		k.Errorf("the message names no attribute, or the other user: %q", taken.Message)
	}
	k.eventuallyCondition(user, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonKubernetesNameTaken)
}

// Two users of an App never share a Kubernetes name: the first has it, the other has no access until the name is free.
func TestTwoUsersOfOneKubernetesName(t *testing.T) {
	w := newWorld(t, byEmail("shared-1:"))
	const subject = "shared-1:shared@example.com"
	first := w.withEmail("first", "shared@example.com", `{"role":"viewer"}`)
	w.eventuallyGranted(first)
	second := w.withEmail("second", "Shared@example.com", `{"role":"admin"}`)
	w.eventuallyNameTaken(second)
	for _, name := range []string{subject, "shared-1:Shared@example.com"} {
		if w.can(name, "delete", w.namespace) {
			t.Errorf("%s has the role of the user that does not hold the name", name)
		}
	}

	// When the holder leaves, the name has no access, and the status says what is so.
	update(w, first, func(u *v1alpha1.User) { u.Spec.Active = false })
	w.eventuallyCondition(first, v1alpha1.ConditionAccessRevoked, metav1.ConditionTrue, v1alpha1.ReasonRevoked)
	if w.can(subject, "get", w.namespace) {
		t.Error("the name has access though its holder left")
	}
	update(w, first, func(u *v1alpha1.User) { u.Spec.Active = true })
	w.eventuallyGranted(first)

	// A change by the holder frees the name, and the other user has access at once.
	update(w, first, func(u *v1alpha1.User) { u.Spec.Emails[0].Value = "own@example.com" })
	w.eventuallyGranted(first)
	w.eventuallyGranted(second)
	w.eventuallyCan("shared-1:Shared@example.com", "delete", w.namespace, true)
	w.eventuallyCan("shared-1:own@example.com", "get", w.namespace, true)

	// A change that takes the name of another user takes the access that there was, and gives none.
	update(w, first, func(u *v1alpha1.User) { u.Spec.Emails[0].Value = "shared@example.com" })
	w.eventuallyNameTaken(first)
	if w.can("shared-1:own@example.com", "get", w.namespace) || w.can(subject, "get", w.namespace) {
		t.Error("a user without a Kubernetes name has access")
	}

	// So does the deletion of the holder.
	if err := env.Client.Delete(w.ctx, second); err != nil {
		t.Fatal(err)
	}
	w.eventuallyGranted(first)
	w.eventuallyCan(subject, "get", w.namespace, true)
	w.eventuallyCan("shared-1:Shared@example.com", "delete", w.namespace, false)
}

// An App that is edited to make Kubernetes names of addresses gives a shared one to one user only, also after a restart.
func TestEditToSharedNames(t *testing.T) {
	w := newWorld(t, func(spec *v1alpha1.AppSpec) { spec.Kubernetes.UsernamePrefix = new("shared-2:") })
	var users []*v1alpha1.User
	for i := range 4 {
		user := w.withEmail(fmt.Sprintf("user%d", i), "shared@example.com", `{"role":"viewer"}`)
		w.eventuallyGranted(user)
		users = append(users, user)
	}
	update(w, w.app, func(app *v1alpha1.App) { app.Spec.Kubernetes.UsernameFrom = v1alpha1.IdentifierEmail })
	holder := func() string {
		var holders []string
		for _, user := range users {
			if err := env.Client.Get(w.ctx, client.ObjectKeyFromObject(user), user); err != nil {
				t.Fatal(err)
			}
			if user.Status.KubernetesUsername == "shared-2:shared@example.com" {
				holders = append(holders, user.Name)
			}
		}
		return strings.Join(holders, " ")
	}
	settled := func() string {
		taken := 0
		for _, user := range users {
			for _, c := range user.Status.Conditions {
				if c.Type == v1alpha1.ConditionReady && c.Reason == v1alpha1.ReasonKubernetesNameTaken {
					taken++
				}
			}
		}
		return unless(taken == len(users)-1 && holder() != "" && !strings.Contains(holder(), " "),
			fmt.Sprintf("%d users have no name, and %q hold it", taken, holder()))
	}
	holder()
	w.eventually(settled)
	before := holder()
	w.stop()
	w.start()
	w.eventuallyGranted(w.withEmail("last", "own@example.com", `{"role":"viewer"}`))
	w.eventually(settled)
	if after := holder(); after != before {
		t.Errorf("%s holds the name after a restart, %s did before", after, before)
	}
	w.eventuallyCan("shared-2:shared@example.com", "get", w.namespace, true)
	for i := range users {
		w.eventuallyCan(fmt.Sprintf("shared-2:user%d", i), "get", w.namespace, false)
	}
}
