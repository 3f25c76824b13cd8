package claims

import (
	"time"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// Users carry the claims of userName.
var Users = Kind[*v1alpha1.User]{
	Attribute: v1alpha1.ClaimUserName,
	Names: func(user *v1alpha1.User) Names {
		spec := &user.Spec
		return Names{App: spec.App, Key: &spec.UserNameKey, Pending: &spec.PendingKey, Unseen: &spec.UnseenWrites}
	},
	Committed: userCommitted,
}

// settled is longer than any request lasts, and than clocks in one cluster differ.
const settled = time.Minute

// userCommitted knows a verified user by its status; one written by hand by the createdAt that only a Create sets;
// and one restored from a backup, which keeps createdAt but not the object's creation time, by the time between.
func userCommitted(user *v1alpha1.User) bool {
	if user.Status.ReservedKey != "" || user.Spec.CreatedAt == nil {
		return true
	}
	written := user.CreationTimestamp.Time
	return time.Since(written) > settled && written.Sub(user.Spec.CreatedAt.Time) > settled
}
