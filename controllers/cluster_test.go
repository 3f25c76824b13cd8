package controllers_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// cluster is the API server as a test writes it, waits for it and asks it.
type cluster struct {
	*testing.T
	ctx context.Context
}

func (k *cluster) base() *cluster { return k }

func (k *cluster) create(object client.Object) {
	k.Helper()
	if err := env.Client.Create(k.ctx, object); err != nil {
		k.Fatal(err)
	}
}

// update changes an object as often as it takes.
func update[T client.Object](on interface{ base() *cluster }, object T, change func(T)) {
	k := on.base()
	k.Helper()
	for {
		if err := env.Client.Get(k.ctx, client.ObjectKeyFromObject(object), object); err != nil {
			k.Fatal(err)
		}
		change(object)
		err := env.Client.Update(k.ctx, object)
		if err == nil {
			return
		}
		if !apierrors.IsConflict(err) {
			k.Fatal(err)
		}
	}
}

// eventually waits until check returns "".
func (k *cluster) eventually(check func() string) {
	k.Helper()
	end := time.Now().Add(deadline)
	for {
		problem := check()
		if problem == "" {
			return
		}
		if time.Now().After(end) {
			k.Fatalf("after %v: %s", deadline, problem)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// can asks the API server's authorizer.
func (k *cluster) can(subject, verb, namespace string) bool {
	k.Helper()
	review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
		User:               subject,
		ResourceAttributes: &authorizationv1.ResourceAttributes{Namespace: namespace, Verb: verb, Resource: "configmaps"},
	}}
	if err := env.Client.Create(k.ctx, review); err != nil {
		k.Fatal(err)
	}
	return review.Status.Allowed
}

func (k *cluster) eventuallyCan(subject, verb, namespace string, want bool) {
	k.Helper()
	k.eventually(func() string {
		if got := k.can(subject, verb, namespace); got != want {
			return fmt.Sprintf("can %s %s in %s = %v", subject, verb, namespace, got)
		}
		return ""
	})
}

// eventuallyCondition waits for a condition of a user's current generation.
func (k *cluster) eventuallyCondition(object client.Object, kind string, status metav1.ConditionStatus, reason string) metav1.Condition {
	k.Helper()
	var found metav1.Condition
	k.eventually(func() string {
		if err := env.Client.Get(k.ctx, client.ObjectKeyFromObject(object), object); err != nil {
			return err.Error()
		}
		c := meta.FindStatusCondition(conditionsOf(object), kind)
		if c == nil || c.Status != status || c.Reason != reason || observedGeneration(object, c) != object.GetGeneration() {
			return fmt.Sprintf("condition %s = %+v at generation %d, want %s %s", kind, c, object.GetGeneration(), status, reason)
		}
		found = *c
		return ""
	})
	return found
}

// observedGeneration is the generation that a condition is about: its own, else that of the status, as kubectl wait has it.
func observedGeneration(object client.Object, c *metav1.Condition) int64 {
	if user, ok := object.(*v1alpha1.User); ok && c.ObservedGeneration == 0 {
		return user.Status.ObservedGeneration
	}
	return c.ObservedGeneration
}

// eventuallyReserved waits until the status says that the claim of the user's name names the user.
func (k *cluster) eventuallyReserved(user *v1alpha1.User) {
	k.Helper()
	k.eventually(func() string {
		if err := env.Client.Get(k.ctx, client.ObjectKeyFromObject(user), user); err != nil {
			return err.Error()
		}
		if !user.IsNameReserved() || user.Status.ObservedGeneration != user.Generation {
			return fmt.Sprintf("status = %+v at generation %d, want the name reserved", user.Status, user.Generation)
		}
		return ""
	})
	k.eventuallyWithout(user, v1alpha1.ConditionNameReserved)
}

// eventuallyWithout waits until the status speaks of the object's generation without a condition.
func (k *cluster) eventuallyWithout(user *v1alpha1.User, kind string) {
	k.Helper()
	k.eventually(func() string {
		if err := env.Client.Get(k.ctx, client.ObjectKeyFromObject(user), user); err != nil {
			return err.Error()
		}
		if c := meta.FindStatusCondition(user.Status.Conditions, kind); c != nil || user.Status.ObservedGeneration != user.Generation {
			return fmt.Sprintf("condition %s = %+v at generation %d, want none", kind, c, user.Generation)
		}
		return ""
	})
}

func (k *cluster) eventuallyGranted(user *v1alpha1.User) {
	k.Helper()
	k.eventuallyCondition(user, v1alpha1.ConditionAccessGranted, metav1.ConditionTrue, v1alpha1.ReasonGranted)
}

func (k *cluster) namespaceObject(name string) *corev1.Namespace {
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
}

func (k *cluster) createNamespace(name string) {
	k.Helper()
	k.create(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}})
}

func conditionsOf(object client.Object) []metav1.Condition {
	switch object := object.(type) {
	case *v1alpha1.User:
		return object.Status.Conditions
	case *v1alpha1.App:
		return object.Status.Conditions
	case *v1alpha1.Group:
		return object.Status.Conditions
	case *v1alpha1.ScimToken:
		return object.Status.Conditions
	case *v1alpha1.AppRoleBinding:
		return object.Status.Conditions
	}
	panic(fmt.Sprintf("no conditions: %T", object))
}
