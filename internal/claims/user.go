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

// AllOtherNames returns every attribute that OtherNames can return for some App.
func AllOtherNames() []string { return []string{v1alpha1.ClaimEmail, v1alpha1.ClaimExternalID} }

// OtherNames are the attributes, userName apart, with values that are unique among the users of an App: those that the App
// tells users apart by (spec.identifier), or that their Kubernetes names are made of (spec.kubernetes.usernameFrom).
func OtherNames(app *v1alpha1.App) []string {
	var attributes []string
	for _, attribute := range AllOtherNames() {
		if app.Spec.Identifier == attribute || app.Spec.Kubernetes.UsernameFrom == attribute {
			attributes = append(attributes, attribute)
		}
	}
	return attributes
}

// UsersBy returns the kind of the claims that Users hold for one of OtherNames. Its keys follow from the attribute, so that no
// rename is ever pending: Create, Rename and Reap are those of Users; Claim, Owner, Release and Sweep are for both.
func UsersBy(attribute string) Kind[*v1alpha1.User] {
	return Kind[*v1alpha1.User]{
		Attribute: attribute,
		Names: func(user *v1alpha1.User) Names {
			key, pending, unseen := KeyBy(attribute, &user.Spec), "", int64(0)
			return Names{App: user.Spec.App, Key: &key, Pending: &pending, Unseen: &unseen}
		},
		Committed: userCommitted,
	}
}

// KeyBy returns the key that a user claims for one of OtherNames: the folded primary address, or the externalId, which is
// compared exactly; "" where the user has none.
func KeyBy(attribute string, user *v1alpha1.UserSpec) string {
	if attribute == v1alpha1.ClaimEmail {
		return Key(user.PrimaryEmail())
	}
	return user.ExternalID
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
