package claims

import (
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// Groups carry the claims of displayName.
var Groups = Kind[*v1alpha1.Group]{
	Attribute: v1alpha1.ClaimDisplayName,
	Names: func(group *v1alpha1.Group) Names {
		spec := &group.Spec
		return Names{App: spec.App, Key: &spec.DisplayNameKey, Pending: &spec.PendingKey, Unseen: &spec.UnseenWrites}
	},
	Committed: groupCommitted,
}

// ForGroups returns the protocol for the Groups of one namespace. The client must not read from a cache.
func ForGroups(live client.Client, namespace string) *Protocol[*v1alpha1.Group] {
	return New(NewStore(live, namespace, func() *v1alpha1.Group { return &v1alpha1.Group{} }), Groups)
}

// groupCommitted is userCommitted for groups.
func groupCommitted(group *v1alpha1.Group) bool {
	if group.Status.ReservedKey != "" || group.Spec.CreatedAt == nil {
		return true
	}
	written := group.CreationTimestamp.Time
	return time.Since(written) > settled && written.Sub(group.Spec.CreatedAt.Time) > settled
}
