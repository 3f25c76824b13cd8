package directory

import (
	"context"

	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/claims"
	"github.com/scim-operator/scim-operator/internal/membership"
	"github.com/scim-operator/scim-operator/scimserver/protocol"
)

// maxSpecBytes bounds what the directory keeps of one user, as JSON, whatever a client sends. The status and the API
// server's own bookkeeping have the rest of the 256 KiB that no object grows past.
const maxSpecBytes = 192 << 10

// Directory is the users and groups of all Apps. Make one with New, run it with Start.
//
// Groups and Apps that its methods return are shared with the read model: not to be changed.
type Directory struct {
	live       client.Client
	users      *readModel
	apps       apps
	creating   keyedLocks
	unverified workqueue.TypedRateLimitingInterface[types.NamespacedName]
	synced     []toolscache.InformerSynced

	groups           *groupModel
	members          *membership.Index
	writers          *groupWriters
	groupSchemas     *protocol.SchemaSet
	unverifiedGroups workqueue.TypedRateLimitingInterface[types.NamespacedName]
	// inlineLimit is membership.InlineLimit, but for tests.
	inlineLimit int
}

// The server writes the directory, and no status of it.
//
// +kubebuilder:rbac:groups=scim-operator.io,resources=users;groups;membershards,verbs=get;list;watch;create;update;delete,roleName=scim-operator-server
// +kubebuilder:rbac:groups=scim-operator.io,resources=nameclaims,verbs=get;create;update;delete,roleName=scim-operator-server
// +kubebuilder:rbac:groups=scim-operator.io,resources=apps,verbs=get;list;watch,roleName=scim-operator-server

// New returns a Directory. live must not read from a cache, nor limit its own rate. informers must transform objects by
// Compact, and watch Users, Groups, MemberShards and Apps in every namespace served. They need not run yet. It fails where
// an informer cannot be had from informers.
func New(ctx context.Context, live client.Client, informers cache.Cache) (*Directory, error) {
	d, err := newDirectory(live)
	if err != nil {
		return nil, err
	}
	if err := d.follow(ctx, informers); err != nil {
		return nil, err
	}
	return d, nil
}

// newDirectory returns a Directory that nothing feeds yet.
func newDirectory(live client.Client) (*Directory, error) {
	schemas, err := protocol.NewGroupSchemas()
	if err != nil {
		return nil, err
	}
	users, members := newReadModel(), membership.NewIndex()
	users.named = members.PutName
	d := &Directory{
		live: admitted{live}, users: users, unverified: newVerifyQueue(),
		groups: newGroupModel(), members: members,
		groupSchemas: schemas, unverifiedGroups: newVerifyQueue(), inlineLimit: membership.InlineLimit,
	}
	d.writers = newGroupWriters(d)
	return d, nil
}

// Synced says whether the read model has seen every User, Group and App that there was when it began.
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

// groupClaims returns the uniqueness protocol of group names in one namespace.
func (d *Directory) groupClaims(namespace string) *claims.Protocol[*v1alpha1.Group] {
	return claims.ForGroups(d.live, namespace)
}

// wroteGroup puts a group into the read model that this process has just written or read, and verified as the holder of its
// name.
func (d *Directory) wroteGroup(group *v1alpha1.Group) {
	group.ManagedFields = nil
	d.groups.put(group, group.Spec.DisplayNameKey)
	d.members.PutGroup(group)
}

// wrote puts a user into the read model that this process has just written, and that holds its name.
func (d *Directory) wrote(user *v1alpha1.User) {
	d.users.put(newEntry(user), user.Spec.UserNameKey)
}
