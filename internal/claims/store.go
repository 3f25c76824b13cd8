package claims

import (
	"context"
	"errors"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// Holder is an object that holds names.
type Holder interface {
	metav1.Object
}

// Store is what the protocol needs of the API server, for one namespace. Every read is live. Errors are the API
// server's: NotFound, AlreadyExists and Conflict decide, any other leaves open whether a write happened.
type Store[H Holder] interface {
	GetHolder(ctx context.Context, name string) (H, error)
	// CreateHolder fails with AlreadyExists, and fills in the resourceVersion.
	CreateHolder(ctx context.Context, holder H) error
	// UpdateHolder fails with Conflict unless the resourceVersion is the stored one, and fills in the next.
	UpdateHolder(ctx context.Context, holder H) error
	// DeleteHolder fails with Conflict unless the resourceVersion is the stored one. Finalizers hold the object.
	DeleteHolder(ctx context.Context, holder H) error

	GetClaim(ctx context.Context, name string) (*v1alpha1.NameClaim, error)
	// CreateClaim fails with AlreadyExists.
	CreateClaim(ctx context.Context, claim *v1alpha1.NameClaim) error
	// UpdateClaim and DeleteClaim fail with Conflict unless the resourceVersion is the stored one.
	UpdateClaim(ctx context.Context, claim *v1alpha1.NameClaim) error
	DeleteClaim(ctx context.Context, claim *v1alpha1.NameClaim) error
}

// Kind tells how one kind of holder carries its names.
type Kind[H Holder] struct {
	// Attribute that the names are values of.
	Attribute string
	// Names points at a holder's names.
	Names func(H) Names
	// Committed says that the holder cannot be the leftover of a crashed Create: it was verified once, or was
	// restored from a backup, or was written by hand. Such a holder is never reaped, and Ensure repairs its claim.
	Committed func(H) bool
}

// Names of a holder.
type Names struct {
	App string
	// Key is the folded name; Pending the one that a rename is about to take.
	Key, Pending *string
	// Unseen counts the writes of Pending alone: nothing else of the holder changed by them.
	Unseen *int64
}

// Protocol runs the protocol for one kind of holder in one namespace. It holds no state of its own: any number may
// run side by side, in any number of processes.
type Protocol[H Holder] struct {
	store Store[H]
	kind  Kind[H]
}

// New returns the protocol over a store.
func New[H Holder](store Store[H], kind Kind[H]) *Protocol[H] {
	return &Protocol[H]{store: store, kind: kind}
}

// attempts bounds every loop of the protocol. A turn is lost only to another process' progress on the same name.
const attempts = 16

var (
	// ErrReleasing says that the name is held by an object that is being deleted: it will be free in a moment.
	ErrReleasing = errors.New("the name is still held by an object that is being deleted")
	// ErrContended says that others kept winning on the same name or object. Nothing was changed; try again later.
	ErrContended = errors.New("too many concurrent changes of one name")
)

// TakenError says that the name belongs to another holder.
type TakenError struct {
	// Attribute that the name is a value of.
	Attribute string
	// Holder is the other one's object name.
	Holder string
}

func (e *TakenError) Error() string {
	return fmt.Sprintf("the %s is held by %s", e.Attribute, e.Holder)
}

// lost says whether an error of take means that the claim does not come to name the asker, now or later.
func lost(err error) bool {
	var taken *TakenError
	return errors.As(err, &taken) || errors.Is(err, ErrReleasing) || errors.Is(err, ErrContended)
}
