package controllers_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/membership"
)

// A directory that is put back from a backup is what it was: under new UIDs, without status, in any order, users last and
// late, with bindings that have owners of the former cluster, and whether a controller runs meanwhile or not. A user has no
// access before the User object is there.
func TestRestoreFromBackup(t *testing.T) {
	for _, members := range []int{1, membership.InlineLimit + 1} {
		for title, test := range map[string]struct {
			order []string
			away  bool
		}{
			"in alphabetical order":                   {order: []string{"arb", "group", "shard", "claim", "rolebinding", "user"}},
			"in the reverse of it":                    {order: []string{"user", "rolebinding", "claim", "shard", "group", "arb"}},
			"shards first, with no controller, users": {order: []string{"shard", "rolebinding", "claim", "group", "arb", "user"}, away: true},
		} {
			t.Run(fmt.Sprintf("%d members %s", members, title), func(t *testing.T) {
				w := newWorld(t, func(spec *v1alpha1.AppSpec) {
					spec.RoleAssignment.Default = nil
					spec.Roles[0].Groups = []string{"Staff"}
				})
				ids := w.provisionRestored(members)
				g := w.push("Staff", membership.InlineLimit, ids...)
				w.eventuallyMembers(g, ids...)
				subject := "okta:restored-0"
				w.eventuallyCan(subject, "get", w.namespace, true)
				w.eventually(func() string { return w.boundSubjects(members) })
				backup := w.backup()
				w.stop()
				w.wipe(backup)
				w.eventuallyCan(subject, "get", w.namespace, false)
				if !test.away {
					w.start()
				}
				for _, kind := range test.order {
					if kind == "user" {
						time.Sleep(2 * time.Second) // a while in which the members are no users
						if w.boundSubjects(0) != "" && !test.away {
							w.eventually(func() string { return w.boundSubjects(0) })
						}
					}
					w.putBack(backup[kind])
				}
				if test.away {
					w.start()
				}
				w.eventually(func() string { return w.boundSubjects(members) })
				w.eventuallyCan(subject, "get", w.namespace, true)
				w.eventuallyMembers(g, ids...)
				w.eventually(func() string {
					for _, native := range w.natives() {
						if len(native.OwnerReferences) > 0 {
							return fmt.Sprintf("owners %+v", native.OwnerReferences)
						}
					}
					return ""
				})
			})
		}
	}
}

func (d *directory) provisionRestored(count int) []string {
	d.Helper()
	users := make([]*v1alpha1.User, count)
	for i := range users {
		users[i] = d.newUser(fmt.Sprintf("restored-%d", i), "")
		users[i].Spec.CreatedAt = &metav1.MicroTime{Time: time.Now().Add(-time.Hour)}
	}
	d.inParallel(count, func(i int) error {
		if err := env.Client.Create(d.ctx, users[i].DeepCopy()); err != nil {
			return err
		}
		return env.Client.Create(d.ctx, d.claimOf(users[i]))
	})
	ids := make([]string, count)
	for i := range users {
		ids[i] = users[i].Name
	}
	return ids
}

func (k *cluster) inParallel(count int, f func(int) error) {
	k.Helper()
	var workers sync.WaitGroup
	failed := make([]error, 8)
	for worker := range failed {
		workers.Go(func() {
			for i := worker; i < count && failed[worker] == nil; i += len(failed) {
				failed[worker] = f(i)
			}
		})
	}
	workers.Wait()
	for _, err := range failed {
		if err != nil {
			k.Fatal(err)
		}
	}
}

// boundSubjects says why native bindings do not name that many users.
func (w *world) boundSubjects(want int) string {
	named := map[string]bool{}
	for _, native := range w.natives() {
		for _, subject := range native.Subjects {
			named[subject.Name] = true
		}
	}
	if len(named) != want {
		return fmt.Sprintf("%d users are bound, want %d", len(named), want)
	}
	return ""
}

// backup returns the objects of the directory, the App apart, by kind, as a tool for backups keeps them: without status.
func (w *world) backup() map[string][]client.Object {
	w.Helper()
	kinds := map[string]client.ObjectList{
		"arb": &v1alpha1.AppRoleBindingList{}, "group": &v1alpha1.GroupList{}, "shard": &v1alpha1.MemberShardList{},
		"claim": &v1alpha1.NameClaimList{}, "user": &v1alpha1.UserList{}, "rolebinding": &rbacv1.RoleBindingList{},
	}
	objects := map[string][]client.Object{}
	for kind, list := range kinds {
		options := []client.ListOption{client.InNamespace(w.namespace)}
		if kind == "rolebinding" {
			options = append(options, matchingApp(w))
		}
		if err := env.Client.List(w.ctx, list, options...); err != nil {
			w.Fatal(err)
		}
		objects[kind] = itemsOf(list)
	}
	return objects
}

func itemsOf(list client.ObjectList) (objects []client.Object) {
	switch list := list.(type) {
	case *v1alpha1.AppRoleBindingList:
		objects = pointers[v1alpha1.AppRoleBinding](list.Items)
	case *v1alpha1.GroupList:
		objects = pointers[v1alpha1.Group](list.Items)
	case *v1alpha1.MemberShardList:
		objects = pointers[v1alpha1.MemberShard](list.Items)
	case *v1alpha1.NameClaimList:
		objects = pointers[v1alpha1.NameClaim](list.Items)
	case *v1alpha1.UserList:
		objects = pointers[v1alpha1.User](list.Items)
	case *rbacv1.RoleBindingList:
		objects = pointers[rbacv1.RoleBinding](list.Items)
	}
	return objects
}

func pointers[T any, P interface {
	*T
	client.Object
}](items []T) []client.Object {
	objects := make([]client.Object, len(items))
	for i := range items {
		objects[i] = P(&items[i])
	}
	return objects
}

// wipe removes objects for good, as the end of a namespace or of a cluster does.
func (k *cluster) wipe(objects map[string][]client.Object) {
	k.Helper()
	for _, kind := range []string{"user", "group", "shard", "claim", "arb", "rolebinding"} {
		k.inParallel(len(objects[kind]), func(i int) error {
			object := objects[kind][i].DeepCopyObject().(client.Object)
			if len(object.GetFinalizers()) > 0 {
				before := object.DeepCopyObject().(client.Object)
				object.SetFinalizers(nil)
				if err := env.Client.Patch(k.ctx, object, client.MergeFrom(before)); err != nil {
					return client.IgnoreNotFound(err)
				}
			}
			return client.IgnoreNotFound(env.Client.Delete(k.ctx, object))
		})
	}
}

// putBack creates objects anew, with owners that are no more where they may have had any.
func (k *cluster) putBack(objects []client.Object) {
	k.Helper()
	ordered := slices.SortedFunc(slices.Values(objects), func(a, b client.Object) int { return strings.Compare(a.GetName(), b.GetName()) })
	k.inParallel(len(ordered), func(i int) error {
		object := ordered[i].DeepCopyObject().(client.Object)
		object.SetUID("")
		object.SetResourceVersion("")
		object.SetManagedFields(nil)
		if _, isNative := object.(*rbacv1.RoleBinding); isNative {
			object.SetOwnerReferences([]metav1.OwnerReference{goneOwner})
		}
		err := env.Client.Create(k.ctx, object)
		if err != nil && strings.Contains(err.Error(), "already exists") {
			return nil // the controller was faster
		}
		return err
	})
}
