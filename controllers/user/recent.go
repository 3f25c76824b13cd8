package user

import (
	"sync"

	"k8s.io/apimachinery/pkg/types"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/claims"
)

// recent is what this process found out or wrote a moment ago, and informers do not show yet. It spares the API server a
// second question, and this process a second evaluation, for each of the people of an import. What is missing here is
// asked and evaluated once more, and nothing else. The zero value is ready to use.
type recent struct {
	mutex sync.Mutex
	// reserved are keys of names with a claim that was read, until a status says so.
	reserved map[types.NamespacedName]reservation
	// held are claims of names other than userName, by user and attribute, that were read and name the user.
	held map[heldName]reservation
	// doubted are users that lost their claim to a deletion by others: neither the status nor what was read before tells that they have their names.
	doubted map[types.NamespacedName]bool
	// written are resourceVersions of Users after a write of their status, until an event shows them.
	written map[types.NamespacedName]string
}

type reservation struct {
	uid types.UID
	key string
}

type heldName struct {
	user      types.NamespacedName
	attribute string
}

// hold notes that the claim of a key of one of claims.OtherNames names a user: it does as long as the user exists and has the key.
func (r *recent) hold(user types.NamespacedName, attribute string, uid types.UID, key string) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if r.held == nil {
		r.held = map[heldName]reservation{}
	}
	r.held[heldName{user, attribute}] = reservation{uid: uid, key: key}
}

func (r *recent) holds(user types.NamespacedName, attribute string, uid types.UID, key string) bool {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	return r.held[heldName{user, attribute}] == reservation{uid: uid, key: key}
}

// reserve notes that the claim of a User's key names the User. That stays true while the User exists and keeps the key.
func (r *recent) reserve(name types.NamespacedName, user *v1alpha1.User) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if r.reserved == nil {
		r.reserved = map[types.NamespacedName]reservation{}
	}
	r.reserved[name] = reservation{uid: user.UID, key: user.Spec.UserNameKey}
}

func (r *recent) isReserved(name types.NamespacedName, user *v1alpha1.User) bool {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	known, found := r.reserved[name]
	return found && known == reservation{uid: user.UID, key: user.Spec.UserNameKey}
}

// doubt notes that the claim of a User's key is gone.
func (r *recent) doubt(name types.NamespacedName) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	delete(r.reserved, name)
	if r.doubted == nil {
		r.doubted = map[types.NamespacedName]bool{}
	}
	r.doubted[name] = true
}

// takeDoubt says whether a User's claim is gone, and ends the doubt: the caller makes the claim anew.
func (r *recent) takeDoubt(name types.NamespacedName) bool {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	doubted := r.doubted[name]
	delete(r.doubted, name)
	return doubted
}

// release notes that the claim of one of a user's other names is gone.
func (r *recent) release(user types.NamespacedName, attribute string) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	delete(r.held, heldName{user, attribute})
}

// wrote notes that the status of a User was written, as the API server returned it.
func (r *recent) wrote(name types.NamespacedName, user *v1alpha1.User) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	delete(r.reserved, name)
	if r.written == nil {
		r.written = map[types.NamespacedName]string{}
	}
	r.written[name] = user.ResourceVersion
}

// isOwn says, once, whether a User is exactly as this process wrote it.
func (r *recent) isOwn(name types.NamespacedName, user *v1alpha1.User) bool {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	version, found := r.written[name]
	if !found {
		return false
	}
	delete(r.written, name) // an event of another state has come: that of the write came before, or will be evaluated
	return version == user.ResourceVersion
}

// reconsider forgets what was written, for a new evaluation. It must come before the User is read: the informer may
// show a state from before the write, and where that looks as if nothing had to be written, the event of the write must
// bring the User back.
func (r *recent) reconsider(name types.NamespacedName) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	delete(r.written, name)
}

func (r *recent) forget(name types.NamespacedName) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	delete(r.reserved, name)
	delete(r.written, name)
	delete(r.doubted, name)
	for _, attribute := range claims.AllOtherNames() {
		delete(r.held, heldName{name, attribute})
	}
}
