package controllers_test

import (
	"slices"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/controllers/user"
	"github.com/scim-operator/scim-operator/internal/claims"
)

// The reaper removes only what crashed requests left.
func TestReaper(t *testing.T) {
	w := newStoppedWorld(t, nil)
	live, err := client.New(w.config, client.Options{Scheme: env.Scheme})
	if err != nil {
		t.Fatal(err)
	}
	effective := w.provision(w.newUser("effective", ""))
	leftover := w.newUser("leftover", "")
	leftover.Finalizers = nil
	w.create(leftover)
	loser := w.newUser("effective", "")
	loser.Finalizers = nil
	w.create(loser)
	verified := w.newUser("verified", "") // its claim was lost, as by a partial restore
	w.create(verified)
	verified.Status.ReservedKey = "verified"
	if err := env.Client.Status().Update(w.ctx, verified); err != nil {
		t.Fatal(err)
	}
	byHand := w.newUser("by-hand", "")
	byHand.Spec.CreatedAt = nil
	w.create(byHand)
	renaming := w.newUser("renaming", "")
	renaming.Spec.PendingKey = "renamed"
	w.provision(renaming) // its request crashed before it took the new name
	gone := w.newUser("gone", "")
	gone.Name = "gone-0123456789"
	w.claim(gone) // the claim of a user that is gone

	var missing []string
	reaper := &user.Reaper{Client: live, Live: live, Namespaces: []string{w.namespace}, ClaimGone: func(namespace string, claim *v1alpha1.NameClaimSpec) {
		missing = append(missing, namespace+"/"+claim.Holder+" "+claim.Value)
	}}
	if err := reaper.Sweep(w.ctx, time.Hour); err != nil {
		t.Fatal(err)
	}
	for _, object := range []*v1alpha1.User{effective, leftover, loser, verified, byHand} {
		if err := env.Client.Get(w.ctx, client.ObjectKeyFromObject(object), object); err != nil {
			t.Errorf("reaped before its time: %v", err)
		}
	}
	if want := []string{w.namespace + "/" + verified.Name + " verified"}; !slices.Equal(missing, want) {
		t.Errorf("claims that are missing: %q, want %q", missing, want)
	}
	time.Sleep(1100 * time.Millisecond) // creation times have whole seconds
	if err := reaper.Sweep(w.ctx, time.Second); err != nil {
		t.Fatal(err)
	}
	for object, want := range map[*v1alpha1.User]bool{effective: true, leftover: false, loser: false, verified: true, byHand: true} {
		err := env.Client.Get(w.ctx, client.ObjectKeyFromObject(object), object)
		if client.IgnoreNotFound(err) != nil || (err == nil) != want {
			t.Errorf("user %s: %v, want it there: %v", object.Spec.UserName, err, want)
		}
	}
	if err := env.Client.Get(w.ctx, client.ObjectKeyFromObject(renaming), renaming); err != nil || renaming.Spec.PendingKey != "" {
		t.Errorf("the rename was not given up: pendingKey %q, %v", renaming.Spec.PendingKey, err)
	}
	for key, want := range map[string]bool{"effective": true, "gone": false} {
		err := env.Client.Get(w.ctx, client.ObjectKey{Namespace: w.namespace, Name: claims.Name("demo", v1alpha1.ClaimUserName, key)}, &v1alpha1.NameClaim{})
		if client.IgnoreNotFound(err) != nil || !apierrors.IsNotFound(err) != want {
			t.Errorf("claim of %s: %v, want it there: %v", key, err, want)
		}
	}
}

// A User that was written by hand, without a claim, is given the claim of its name where that is free.
func TestUserWrittenByHandIsClaimed(t *testing.T) {
	w := newWorld(t, nil)
	first := w.newUser("by-hand", "")
	first.Spec.CreatedAt, first.Finalizers = nil, nil
	w.create(first)
	w.eventuallyGranted(first)
	second := w.newUser("by-hand", "")
	second.Spec.CreatedAt = nil
	w.create(second)
	w.eventuallyCondition(second, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonNameTaken)
	w.eventuallyGranted(first)
}
