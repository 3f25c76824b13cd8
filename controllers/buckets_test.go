package controllers_test

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"testing"

	"github.com/cespare/xxhash/v2"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/access"
	"github.com/scim-operator/scim-operator/internal/earned"
)

// Users share buckets of the index of AppRoleBindings by subject. Each still has its own roles alone, whether the bindings are
// known by this process's writes or by the informers.
func TestUsersThatShareABucket(t *testing.T) {
	w := newStoppedWorld(t, nil)
	syncer := newSyncer(w)
	bucket := func(user string) string { return strconv.FormatUint(xxhash.Sum64String(user)%(1<<14), 36) }
	users := []string{"jane"}
	for i := 0; len(users) < 3; i++ {
		if name := fmt.Sprintf("john-%d", i); bucket(name) == bucket("jane") {
			users = append(users, name)
		}
	}
	name := func(user string) types.NamespacedName {
		return types.NamespacedName{Namespace: w.namespace, Name: user}
	}
	roles := map[string]string{users[0]: "viewer", users[1]: "admin"} // the third one has none
	for user, role := range roles {
		object := w.newUser(user, "")
		object.Name = user
		w.create(object)
		w.eventually(func() string {
			return unless(syncer.Client.Get(w.ctx, name(user), &v1alpha1.User{}) == nil, "the informer shows the user")
		})
		key := earned.RoleInScope{Namespace: w.namespace, App: "demo", Role: role, Scope: "default"}
		syncer.Index.Set(name(user), earned.Entry{
			App: earned.AppGenerationOf(w.app, &access.Cache{}), Subject: "okta:" + user, Keys: []earned.RoleInScope{key},
		})
		if err := syncer.Sync(w.ctx, key).Err(); err != nil {
			t.Fatal(err)
		}
	}
	check := func(when string) {
		t.Helper()
		for _, user := range users {
			bound, err := syncer.Subjects(w.ctx, name(user))
			if err != nil {
				t.Fatal(err)
			}
			var held []string
			for key := range maps.Keys(bound) {
				held = append(held, key.Role)
			}
			var want []string
			if role := roles[user]; role != "" {
				want = []string{role}
			}
			if !slices.Equal(held, want) {
				t.Errorf("%s, %s is bound to %v, want %v", when, user, held, want)
			}
		}
	}
	check("as written")
	w.eventually(func() string {
		var list v1alpha1.AppRoleBindingList
		err := syncer.Client.List(w.ctx, &list, client.InNamespace(w.namespace), client.MatchingFields{"scim.subject.bucket": bucket("jane")})
		return unless(err == nil && len(list.Items) == 2, "the informers show both bindings in the bucket")
	})
	check("as the informers show it")
}
