package controllers_test

import (
	"fmt"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/membership"
)

// leftovers counts the objects of the directory by kind, those of one App.
func (w *world) leftovers(app string) map[string]int {
	w.Helper()
	count := map[string]int{}
	for kind, list := range map[string]client.ObjectList{
		"users": &v1alpha1.UserList{}, "groups": &v1alpha1.GroupList{}, "shards": &v1alpha1.MemberShardList{},
		"bindings": &v1alpha1.AppRoleBindingList{},
	} {
		if err := env.Client.List(w.ctx, list, client.InNamespace(w.namespace), client.MatchingFields{"spec.app": app}); err != nil {
			w.Fatal(err)
		}
		if items := meta.LenList(list); items > 0 {
			count[kind] = items
		}
	}
	var reserved v1alpha1.NameClaimList
	if err := env.Client.List(w.ctx, &reserved, client.InNamespace(w.namespace)); err != nil {
		w.Fatal(err)
	}
	for i := range reserved.Items {
		if reserved.Items[i].Spec.App == app {
			count["claims"]++
		}
	}
	return count
}

func TestAppDeletion(t *testing.T) {
	for _, policy := range []string{v1alpha1.DeletionPolicyDelete, v1alpha1.DeletionPolicyRetain} {
		t.Run(policy, func(t *testing.T) {
			w := newWorld(t, guarded(1, func(spec *v1alpha1.AppSpec) {
				byGroups("Staff")(spec)
				spec.DeletionPolicy = policy
			}))
			users, ids := w.staff(8)
			left := w.newUser("left", "")
			left.Spec.Active = false
			w.provision(left)
			w.push("Staff", 0, ids...)
			w.push("inline", membership.InlineLimit, ids[:2]...)
			stale := w.newGroup("stale", membership.InlineLimit)
			w.claimGroup(stale) // of a group that is gone
			w.eventuallyCan("okta:staff7", "delete", w.namespace, true)

			// Another App in the same namespace, which nothing of this concerns.
			other := &v1alpha1.App{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "other"}, Spec: *w.app.Spec.DeepCopy()}
			prefix := "other:"
			other.Spec.Kubernetes.UsernamePrefix, other.Spec.RoleAssignment.Default = &prefix, []string{"viewer"}
			w.create(other)
			stays := w.newUser("stays", "")
			stays.Spec.App = other.Name
			w.provision(stays)
			w.eventuallyGranted(stays)
			w.eventuallyCondition(w.app, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)

			if err := env.Client.Delete(w.ctx, w.app); err != nil {
				t.Fatal(err)
			}
			w.eventually(func() string {
				err := env.Client.Get(w.ctx, client.ObjectKeyFromObject(w.app), w.app)
				return unless(apierrors.IsNotFound(err), fmt.Sprintf("the App is gone: %v, %+v", err, w.app.Status))
			})
			w.eventually(func() string { return unless(w.leftovers("demo")["bindings"] == 0, "no binding is left") })
			for _, user := range users {
				w.eventuallyCan("okta:"+user.Spec.UserName, "delete", w.namespace, false)
			}
			if policy == v1alpha1.DeletionPolicyDelete {
				if rest := w.leftovers("demo"); len(rest) > 0 {
					t.Errorf("left are %v", rest)
				}
			} else {
				for _, user := range users {
					w.eventuallyCondition(user, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonAppNotFound)
				}
				if rest := w.leftovers("demo"); rest["users"] != 9 || rest["groups"] != 2 || rest["claims"] < 11 {
					t.Errorf("left are %v", rest)
				}
			}
			if rest := w.leftovers("other"); rest["users"] != 1 || rest["claims"] != 1 || rest["bindings"] != 1 {
				t.Errorf("of the other App are left %v", rest)
			}
			if !w.can("other:stays", "get", w.namespace) {
				t.Error("the other App's user lost access")
			}
		})
	}
}

// The policy decides at the moment of the deletion, and the deletion tells what it waits for.
func TestDeletionPolicyChanges(t *testing.T) {
	w := newWorld(t, func(spec *v1alpha1.AppSpec) { spec.DeletionPolicy = v1alpha1.DeletionPolicyDelete })
	user := w.newUser("ada", "")
	user.Finalizers = append(user.Finalizers, "example.com/held")
	w.provision(user)
	w.eventuallyGranted(user)
	w.eventually(func() string {
		if err := env.Client.Get(w.ctx, client.ObjectKeyFromObject(w.app), w.app); err != nil {
			return err.Error()
		}
		return unless(len(w.app.Finalizers) == 1, "the App has its finalizer")
	})
	if err := env.Client.Delete(w.ctx, w.app); err != nil {
		t.Fatal(err)
	}
	w.eventually(func() string {
		if err := env.Client.Get(w.ctx, client.ObjectKeyFromObject(w.app), w.app); err != nil {
			return err.Error()
		}
		c := meta.FindStatusCondition(w.app.Status.Conditions, v1alpha1.ConditionReconciling)
		return unless(c != nil && c.Message == "1 users and 0 groups are left.", fmt.Sprintf("the status tells what is left: %+v", c))
	})
	w.eventuallyCan("okta:ada", "get", w.namespace, false)
	update(w, w.app, func(app *v1alpha1.App) { app.Spec.DeletionPolicy = v1alpha1.DeletionPolicyRetain })
	w.eventually(func() string {
		err := env.Client.Get(w.ctx, client.ObjectKeyFromObject(w.app), w.app)
		return unless(apierrors.IsNotFound(err), fmt.Sprintf("the App is gone: %v", err))
	})
	update(w, user, func(u *v1alpha1.User) { u.Finalizers = nil })
}

// An App with deletionPolicy Delete leaves no claim of an address or externalId, and neither do users of an App that is gone.
func TestDeletedUsersLeaveNoOtherNames(t *testing.T) {
	for _, policy := range []string{v1alpha1.DeletionPolicyDelete, v1alpha1.DeletionPolicyRetain} {
		t.Run(policy, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, func(spec *v1alpha1.AppSpec) {
				spec.DeletionPolicy, spec.Kubernetes.UsernameFrom, spec.Identifier = policy, v1alpha1.IdentifierEmail, v1alpha1.IdentifierExternalID
			})
			jane := w.newUser("jane", "")
			jane.Spec.Emails, jane.Spec.ExternalID = []v1alpha1.MultiValue{{Value: "jane@example.com", Primary: true}}, "00u1"
			w.eventuallyGranted(w.provision(jane))
			if rest := w.leftovers("demo"); rest["claims"] != 3 {
				t.Fatalf("there are %v", rest)
			}
			w.delete(w.app)
			if policy == v1alpha1.DeletionPolicyRetain {
				w.eventuallyCondition(jane, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonAppNotFound)
				w.delete(jane)
			}
			w.eventually(func() string {
				rest := w.leftovers("demo")
				return unless(rest["users"] == 0 && rest["claims"] == 0, fmt.Sprintf("nothing is left: %v", rest))
			})
		})
	}
}

// An App that is deleted and that a finalizer of others holds says so, and not that it grants.
func TestDeletedAppThatAnotherFinalizerHolds(t *testing.T) {
	for _, policy := range []string{v1alpha1.DeletionPolicyDelete, v1alpha1.DeletionPolicyRetain} {
		t.Run(policy, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, func(spec *v1alpha1.AppSpec) { spec.DeletionPolicy = policy })
			jane := w.provision(w.newUser("jane", ""))
			w.eventuallyGranted(jane)
			w.eventuallyCondition(w.app, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
			update(w, w.app, func(app *v1alpha1.App) { app.Finalizers = append(app.Finalizers, foreignFinalizer) })
			w.delete(w.app)
			w.eventually(func() string {
				told := w.eventuallyCondition(w.app, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonDeleted)
				return unless(strings.Contains(told.Message, foreignFinalizer), "the App says what holds it: "+told.Message)
			})
			w.eventuallyCan("okta:jane", "get", w.namespace, false)
			// A backup puts another App's status in its place.
			other := w.app.DeepCopy()
			other.Status.UID = "of another App"
			restorer{w}.putStatus(w.app, other)
			w.eventually(func() string {
				told := w.eventuallyCondition(w.app, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonDeleted)
				return unless(w.app.Status.UID == string(w.app.UID) && strings.Contains(told.Message, foreignFinalizer), "the App's status is its own: uid "+w.app.Status.UID)
			})
			update(w, w.app, func(app *v1alpha1.App) { app.Finalizers = nil })
		})
	}
}
