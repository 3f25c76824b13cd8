package membership

import (
	"context"
	"errors"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// Store is what the package needs of the API server, for one namespace. Every read but KnownGroup and KnownShard is live. Errors
// are the API server's: NotFound, AlreadyExists and Conflict decide, any other leaves open whether a write happened.
type Store interface {
	GetGroup(ctx context.Context, name string) (*v1alpha1.Group, error)
	// KnownGroup returns the Group as some earlier read or write had it, however long ago, or nil. It is shared: not to be changed.
	KnownGroup(name string) *v1alpha1.Group
	// UpdateGroup fails with Conflict unless the resourceVersion is the stored one, and fills in the next.
	UpdateGroup(ctx context.Context, group *v1alpha1.Group) error

	GetShard(ctx context.Context, name string) (*v1alpha1.MemberShard, error)
	// KnownShard returns the shard as some earlier read or write had it, however long ago, or nil. It is shared: not to be changed.
	KnownShard(group, epoch string, index int) *v1alpha1.MemberShard
	// ListShards returns the shards of one epoch of a group, in any order.
	ListShards(ctx context.Context, group, epoch string) ([]v1alpha1.MemberShard, error)
	// CreateShard fails with AlreadyExists, and fills in the resourceVersion.
	CreateShard(ctx context.Context, shard *v1alpha1.MemberShard) error
	// UpdateShard fails with Conflict unless the resourceVersion is the stored one, and fills in the next.
	UpdateShard(ctx context.Context, shard *v1alpha1.MemberShard) error
	// DeleteShard fails with Conflict unless the resourceVersion is the stored one.
	DeleteShard(ctx context.Context, shard *v1alpha1.MemberShard) error
}

const (
	// InlineLimit is how many members a group has in its own object.
	InlineLimit = 500
	// parallelism bounds the requests in flight for one change of one group.
	parallelism = 16
	// listFrom is the number of touched shards from which on one list is cheaper than a read of each.
	listFrom = 24
	// attempts bounds every loop. A turn is lost only to another writer's progress on the same object.
	attempts = 32
)

var (
	// ErrContended says that others kept changing the same group. Some of the change may have happened; try again later.
	ErrContended = errors.New("too many concurrent changes of one group")
	// ErrTooLarge says that the group would have more members than its shards can hold.
	ErrTooLarge = errors.New("the group would have more members than can be kept")
)

// Protocol runs the protocol for the groups of one namespace. It holds no state of its own: any number may run side by
// side, in any number of processes.
type Protocol struct {
	store       Store
	inlineLimit int
	parallelism int
	epoch       func() (string, error)
	// pause waits before another attempt.
	pause func(ctx context.Context, attempt int) error
}

// New returns the protocol over a store. inlineLimit is InlineLimit, but for tests.
func New(store Store, inlineLimit int) *Protocol {
	return &Protocol{store: store, inlineLimit: inlineLimit, parallelism: parallelism, epoch: newEpoch, pause: pause}
}

// inlineAgain is the number of members up to which a replacement brings a sharded group back inline. It is well below
// the limit, so that a group at the limit does not go back and forth.
func (p *Protocol) inlineAgain() int { return p.inlineLimit / 2 }
