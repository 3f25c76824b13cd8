package controllers_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// During an import first statuses wait. Bindings do not, nor does what becomes of users that leave or are renamed before their status was
// written; and in the end each has one.
func TestAnImportDelaysStatusesAlone(t *testing.T) {
	w := newDenyingWorld(t, func(spec *v1alpha1.AppSpec) {
		denying("import:")(spec)
		spec.Kubernetes.UsernameFrom = v1alpha1.IdentifierExternalID
	})
	const count, every = 240, 24
	users := make([]*v1alpha1.User, count)
	var next, untold atomic.Int64
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for i := next.Add(1) - 1; i < count && !t.Failed(); i = next.Add(1) - 1 {
				user := w.newUser(fmt.Sprintf("user-%03d", i), "")
				user.Spec.ExternalID = fmt.Sprintf("id-%03d", i)
				users[i] = w.provision(user)
				if i%every != 0 {
					continue
				}
				group.Go(func() {
					if w.eventuallyBound("import:" + user.Spec.ExternalID); w.changeBound(user, i%(2*every) == 0) {
						untold.Add(1)
					}
				})
			}
		})
	}
	group.Wait()
	var renamed []string
	for i, user := range users {
		former := "import:" + fmt.Sprintf("id-%03d", i)
		switch {
		case i%every != 0:
			w.eventuallyCondition(user, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
			continue
		case i%(2*every) == 0:
			w.eventuallyRevoked(user)
		default:
			w.eventuallyCondition(user, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
		}
		renamed = append(renamed, former)
		if w.can(former, "get", w.namespace) {
			t.Errorf("%s has access still", former)
		}
	}
	t.Logf("%d of %d users had no status yet when they left or were renamed", untold.Load(), len(renamed))
	w.eventuallyListed(renamed...)
}

// eventuallyBound waits until a native binding names a user.
func (w *world) eventuallyBound(name string) {
	w.Helper()
	w.eventually(func() string {
		for _, native := range w.natives() {
			for _, subject := range native.Subjects {
				if subject.Name == name {
					return ""
				}
			}
		}
		return name + " is bound nowhere"
	})
}

// changeBound has a user leave, or renames them. It says whether the user had no status then.
func (w *world) changeBound(user *v1alpha1.User, leaves bool) (untold bool) {
	w.Helper()
	current := &v1alpha1.User{}
	if err := env.Client.Get(w.ctx, client.ObjectKeyFromObject(user), current); err != nil {
		w.Error(err)
	}
	update(w, user, func(u *v1alpha1.User) {
		if leaves {
			u.Spec.Active = false
		} else {
			u.Spec.ExternalID = "new-" + u.Spec.ExternalID
		}
	})
	return current.Status.ObservedGeneration == 0
}
