package controllers_test

import (
	"fmt"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/claims"
)

// At the very moment that AccessRevoked=True is seen the API server must deny: the SCIM server waits for the condition and
// then tells Okta that the access is gone.
func TestAccessRevokedIsTrue(t *testing.T) {
	w := newWorld(t, nil)
	for i := range 5 { // colleagues, so that bindings shrink rather than go
		w.eventuallyGranted(w.provision(w.newUser(fmt.Sprintf("colleague-%d", i), "")))
	}
	viewer := w.provision(w.newUser("leaver", ""))              // leaves a binding that others stay in
	admin := w.provision(w.newUser("boss", `{"role":"admin"}`)) // is the only one in theirs
	watching, err := client.NewWithWatch(env.Config, client.Options{Scheme: env.Scheme})
	if err != nil {
		t.Fatal(err)
	}
	var slowest, total time.Duration
	const rounds = 200
	for round := range rounds {
		user := viewer
		if round%2 == 1 {
			user = admin
		}
		subject := "okta:" + user.Spec.UserName
		w.eventuallyGranted(user)
		if !w.can(subject, "get", w.namespace) {
			t.Fatalf("round %d: granted, and denied", round)
		}
		events, err := watching.Watch(w.ctx, &v1alpha1.UserList{}, client.InNamespace(w.namespace), client.MatchingFields{"metadata.name": user.Name})
		if err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		update(w, user, func(u *v1alpha1.User) { u.Spec.Active = false })
		w.awaitRevoked(events, user.Generation)
		allowed := w.can(subject, "get", w.namespace)
		took := time.Since(begin)
		slowest, total = max(slowest, took), total+took
		events.Stop()
		if allowed {
			t.Fatalf("round %d: AccessRevoked=True, and allowed", round)
		}
		update(w, user, func(u *v1alpha1.User) { u.Spec.Active = true })
	}
	t.Logf("from the deactivation to the denial: %v on average, %v at most", total/rounds, slowest)
}

func (k *cluster) awaitRevoked(events watch.Interface, generation int64) {
	k.Helper()
	timeout := time.After(deadline)
	for {
		select {
		case event := <-events.ResultChan():
			user, isUser := event.Object.(*v1alpha1.User)
			if !isUser {
				k.Fatalf("watch: %+v", event)
			}
			c := meta.FindStatusCondition(user.Status.Conditions, v1alpha1.ConditionAccessRevoked)
			if c != nil && c.Status == metav1.ConditionTrue && c.ObservedGeneration >= generation {
				return
			}
		case <-timeout:
			k.Fatal("the access was not revoked")
		}
	}
}

func TestInactiveUser(t *testing.T) {
	w := newWorld(t, nil)
	for name, change := range map[string]func(*v1alpha1.User){
		v1alpha1.ReasonInactive:  func(u *v1alpha1.User) { u.Spec.Active = false },
		v1alpha1.ReasonSuspended: func(u *v1alpha1.User) { u.Spec.Suspended = true },
	} {
		w.Run(name, func(t *testing.T) {
			w := w.with(t)
			user := w.provision(w.newUser(name, `{"role":"admin"}`))
			w.eventuallyGranted(user)
			update(w, user, change)
			w.eventuallyCondition(user, v1alpha1.ConditionAccessRevoked, metav1.ConditionTrue, v1alpha1.ReasonRevoked)
			w.eventuallyCondition(user, v1alpha1.ConditionReady, metav1.ConditionTrue, name)
			w.eventuallyCondition(user, v1alpha1.ConditionAccessGranted, metav1.ConditionFalse, name)
			if len(user.Status.Roles) > 0 || user.Status.RoleNames != "" || user.Status.InactiveSince == nil {
				t.Errorf("status = %+v", user.Status)
			}
			update(w, user, func(u *v1alpha1.User) { u.Spec.Active, u.Spec.Suspended = true, false })
			w.eventuallyGranted(user)
			w.eventuallyWithout(user, v1alpha1.ConditionAccessRevoked)
			w.eventuallyCan("okta:"+name, "delete", w.namespace, true)
			if user.Status.InactiveSince != nil {
				t.Errorf("inactive since %v", user.Status.InactiveSince)
			}
		})
	}
	w.Run("inactive from the beginning", func(t *testing.T) {
		w := w.with(t)
		user := w.newUser("never", "")
		user.Spec.Active = false
		w.provision(user)
		w.eventuallyCondition(user, v1alpha1.ConditionAccessRevoked, metav1.ConditionTrue, v1alpha1.ReasonRevoked)
		w.eventuallyReserved(user)
	})
}

func TestDeletion(t *testing.T) {
	w := newWorld(t, nil)
	for name, finalizers := range map[string][]string{"by the server": {v1alpha1.FinalizerAccess}, "by hand": nil} {
		w.Run(name, func(t *testing.T) {
			w := w.with(t)
			user := w.newUser("jane", "")
			user.Finalizers = finalizers
			w.provision(user)
			w.eventuallyGranted(user)
			if err := env.Client.Delete(w.ctx, user); err != nil {
				t.Fatal(err)
			}
			w.eventually(func() string {
				if err := env.Client.Get(w.ctx, client.ObjectKeyFromObject(user), user); !apierrors.IsNotFound(err) {
					return fmt.Sprintf("user: %v", err)
				}
				return ""
			})
			if w.can("okta:jane", "get", w.namespace) {
				t.Error("the object is gone, and the access is not")
			}
			claim := client.ObjectKey{Namespace: w.namespace, Name: claims.Name("demo", v1alpha1.ClaimUserName, "jane")}
			w.eventually(func() string {
				if err := env.Client.Get(w.ctx, claim, &v1alpha1.NameClaim{}); !apierrors.IsNotFound(err) {
					return fmt.Sprintf("claim: %v", err)
				}
				return ""
			})
			w.eventually(func() string {
				if b, n := len(w.bindings()), len(w.natives()); b > 0 || n > 0 {
					return fmt.Sprintf("%d AppRoleBindings, %d RoleBindings are left", b, n)
				}
				return ""
			})
		})
	}
}

// A rename is a revocation, too: the old subject leaves in the reconcile that lets the new one in.
func TestRenameMovesTheSubject(t *testing.T) {
	w := newWorld(t, nil)
	user := w.provision(w.newUser("Jane", ""))
	w.eventuallyGranted(user)
	update(w, user, func(u *v1alpha1.User) { u.Spec.UserName = "JANE" }) // the same key: no claim moves
	w.eventuallyGranted(user)
	if w.can("okta:Jane", "get", w.namespace) || !w.can("okta:JANE", "get", w.namespace) {
		t.Error("the subject did not move with the letters' case")
	}
	renamed := w.newUser("joan", "")
	renamed.Name = user.Name
	w.claim(renamed)
	update(w, user, func(u *v1alpha1.User) { u.Spec.UserName, u.Spec.UserNameKey = "joan", "joan" })
	w.eventuallyGranted(user)
	if w.can("okta:JANE", "get", w.namespace) || !w.can("okta:joan", "get", w.namespace) {
		t.Error("the subject did not move")
	}
	if user.Status.KubernetesUsername != "okta:joan" || user.Status.ReservedKey != "joan" {
		t.Errorf("status = %+v", user.Status)
	}
}

func TestNothingIsGrantedWithoutTheClaim(t *testing.T) {
	w := newWorld(t, nil)
	user := w.newUser("unclaimed", "")
	w.create(user)
	w.eventuallyCondition(user, v1alpha1.ConditionNameReserved, metav1.ConditionFalse, v1alpha1.ReasonNameNotClaimed)
	w.eventuallyCondition(user, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonNameNotClaimed)
	if w.can("okta:unclaimed", "get", w.namespace) {
		t.Error("granted without a claim")
	}
	rival := w.newUser("unclaimed", "")
	w.claim(rival)
	w.eventuallyCondition(user, v1alpha1.ConditionNameReserved, metav1.ConditionFalse, v1alpha1.ReasonNameTaken)
	w.create(rival)
	w.eventuallyGranted(rival)
	for _, binding := range w.bindings() {
		for _, subject := range binding.Spec.Subjects {
			if subject.User == user.Name {
				t.Error("the user without the claim is bound")
			}
		}
	}
	// An effective user that takes the name of another one has no access until the name is its own.
	update(w, rival, func(u *v1alpha1.User) { u.Spec.UserName, u.Spec.UserNameKey = "other", "other" })
	w.eventuallyCondition(rival, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonNameNotClaimed)
	w.eventuallyCan("okta:unclaimed", "get", w.namespace, false)
	w.eventuallyCan("okta:other", "get", w.namespace, false)
}

func TestReservedSubjectIsRefused(t *testing.T) {
	empty := "sys"
	w := newWorld(t, func(spec *v1alpha1.AppSpec) { spec.Kubernetes.UsernamePrefix = &empty })
	user := w.provision(w.newUser("tem:admin", ""))
	c := w.eventuallyCondition(user, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonInvalidSubject)
	if want := "Attribute userName makes a Kubernetes user name that begins with system:, which is reserved."; c.Message != want {
		t.Errorf("message = %q", c.Message)
	}
	if len(w.bindings()) > 0 {
		t.Error("a binding was written")
	}
}

func TestDeleteAfter(t *testing.T) {
	w := newWorld(t, func(spec *v1alpha1.AppSpec) { spec.Deactivation.DeleteAfter = &metav1.Duration{Duration: time.Hour} })
	user := w.newUser("leaver", "")
	user.Spec.Active = false
	w.provision(user)
	w.eventuallyCondition(user, v1alpha1.ConditionAccessRevoked, metav1.ConditionTrue, v1alpha1.ReasonRevoked)
	before := user.DeepCopy()
	user.Status.InactiveSince = &metav1.Time{Time: time.Now().Add(-time.Hour + time.Second)}
	if err := env.Client.Status().Patch(w.ctx, user, client.MergeFrom(before)); err != nil {
		t.Fatal(err)
	}
	w.eventually(func() string {
		if err := env.Client.Get(w.ctx, client.ObjectKeyFromObject(user), user); !apierrors.IsNotFound(err) {
			return fmt.Sprintf("user: %v", err)
		}
		return ""
	})
}

func TestRoleBindingsAreWhatRBACExpects(t *testing.T) {
	w := newWorld(t, nil)
	w.eventuallyGranted(w.provision(w.newUser("jane", "")))
	natives := w.natives()
	if len(natives) != 1 {
		t.Fatalf("%d role bindings", len(natives))
	}
	want := rbacv1.Subject{Kind: "User", APIGroup: "rbac.authorization.k8s.io", Name: "okta:jane"}
	if len(natives[0].Subjects) != 1 || natives[0].Subjects[0] != want {
		t.Errorf("subjects = %+v", natives[0].Subjects)
	}
	binding := w.bindings()[0]
	w.eventuallyCondition(&binding, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	if binding.Status.Subjects != 1 || binding.Status.NativeBindingCount != 1 ||
		binding.Status.NativeBindings[0] != (v1alpha1.NativeBinding{Kind: "RoleBinding", Namespace: w.namespace, Name: natives[0].Name}) {
		t.Errorf("status = %+v", binding.Status)
	}
}
