package user

import (
	"sync"

	"k8s.io/apimachinery/pkg/types"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/claims"
)

// waiting are users by a Kubernetes name that another user of the App holds: they are evaluated when it may be free. What is
// missing here is evaluated within maxBackoff all the same. The zero value is ready to use.
type waiting struct {
	mutex sync.Mutex
	users map[otherName]map[types.NamespacedName]bool
}

// otherName is a value of one of claims.OtherNames.
type otherName struct{ namespace, app, attribute, key string }

func (w *waiting) add(namespace, app, attribute, key string, user types.NamespacedName) {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	name := otherName{namespace, app, attribute, key}
	if w.users == nil {
		w.users = map[otherName]map[types.NamespacedName]bool{}
	}
	if w.users[name] == nil {
		w.users[name] = map[types.NamespacedName]bool{}
	}
	w.users[name][user] = true
}

// freed returns the users that wait for names that a user had before and has no more, and forgets them. after is nil where the
// user is gone.
func (w *waiting) freed(before, after *v1alpha1.User) []types.NamespacedName {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	if len(w.users) == 0 {
		return nil
	}
	var users []types.NamespacedName
	for _, attribute := range claims.AllOtherNames() {
		key := claims.KeyBy(attribute, &before.Spec)
		if after != nil && claims.KeyBy(attribute, &after.Spec) == key {
			continue
		}
		name := otherName{before.Namespace, before.Spec.App, attribute, key}
		for user := range w.users[name] {
			users = append(users, user)
		}
		delete(w.users, name)
	}
	return users
}
