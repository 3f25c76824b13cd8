package directory

import (
	"context"

	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/scimserver/directory/claims"
)

// maxSpecBytes bounds what the directory keeps of one user, as JSON, whatever a client sends. The status and the API
// server's own bookkeeping have the rest of the 256 KiB that no object grows past.
const maxSpecBytes = 192 << 10

// Directory is the users of all Apps. Make one with New, run it with Start.
//
// Objects that its methods return are shared with the read model: not to be changed.
type Directory struct {
	live       client.Client
	users      *readModel
	apps       apps
	unverified workqueue.TypedRateLimitingInterface[types.NamespacedName]
	synced     []toolscache.InformerSynced
}

// New returns a Directory. live must not read from a cache, nor limit its own rate. informers must strip managed
// fields, and watch Users and Apps in every namespace served. They need not run yet.
func New(ctx context.Context, live client.Client, informers cache.Cache) (*Directory, error) {
	d := &Directory{live: live, users: newReadModel(), unverified: newVerifyQueue()}
	if err := d.follow(ctx, informers); err != nil {
		return nil, err
	}
	return d, nil
}

// Synced says whether the read model has seen every User and App that there was when it began.
func (d *Directory) Synced() bool {
	for _, synced := range d.synced {
		if !synced() {
			return false
		}
	}
	return true
}

// claims returns the uniqueness protocol of one namespace.
func (d *Directory) claims(namespace string) *claims.Protocol[*v1alpha1.User] {
	return claims.ForUsers(d.live, namespace)
}

// wrote takes a user that this process has just written, and whose name it holds, into the read model.
func (d *Directory) wrote(user *v1alpha1.User) {
	user.ManagedFields = nil
	d.users.put(user, user.Spec.UserNameKey)
}
