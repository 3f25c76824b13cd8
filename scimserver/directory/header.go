package directory

import (
	"strings"
	"time"
	"unique"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// entry is a pointer to one user or group as the read model has it. What it points to never changes: a newer state is another
// one. Methods of a read model return nil where there is none.
type entry[E any] interface {
	comparable
	// head returns the entry's own header, which the caller does not change.
	head() *header
	// with returns a copy of the entry with another header.
	with(header) E
	// at returns an entry that stands for a position. It needs no entry to be called on.
	at(position) E
}

// header is what finds and orders an entry.
type header struct {
	id  string
	app unique.Handle[types.NamespacedName]
	uid types.UID
	// resourceVersion tells the newer of two states.
	resourceVersion string
	// key is the folded name, as claims compare it.
	key, externalID string
	emails          []string // of users: folded, each once
	// created is in microseconds since 1970, which is how the API server keeps it.
	created int64
	// reserved says that the controller has verified the claim of the present name.
	reserved bool
	// terminating is set once the object is being deleted.
	terminating bool

	verification
}

// verification is what this process knows about an object, and the object does not say.
type verification struct {
	// verified says that this process saw the claim of the key naming the object. It stays true while the object has the key.
	verified bool
	// deleted is set by this process' own deletion, before the watch tells.
	deleted bool
	// provisional says that clients saw the object under another name, and that this process has not read the claim of the new
	// one yet. A rename claims before it commits: until the claim is read, lists still show the object.
	provisional bool
}

// withVerification returns the entry with what this process knows about the object, or itself where that is nothing new.
func withVerification[E entry[E]](e E, known verification) E {
	next := *e.head()
	// What the controller has verified need not be known twice.
	known.verified = known.verified && !next.reserved
	known.provisional = known.provisional && !known.verified && !next.reserved
	if next.verification == known {
		return e
	}
	next.verification = known
	return e.with(next)
}

func (h *header) name() types.NamespacedName {
	return types.NamespacedName{Namespace: h.app.Value().Namespace, Name: h.id}
}

// visible says whether SCIM clients see the user or group.
func (h *header) visible() bool {
	return !h.deleted && !h.terminating && (h.verified || h.reserved || h.provisional)
}

// needsVerification says whether this process still has to read the claim of the name.
func (h *header) needsVerification() bool {
	return !h.deleted && !h.terminating && !h.verified && !h.reserved
}

// certain says whether clients see the user or group, and the claim of its name is known to name it.
func (h *header) certain() bool {
	return !h.deleted && !h.terminating && (h.verified || h.reserved)
}

// ID is the SCIM id.
func (h *header) ID() string { return h.id }

// CreatedAt is when the user or group was created, as lists are ordered by it.
func (h *header) CreatedAt() time.Time { return time.UnixMicro(h.created).UTC() }

// position is a place in the order of lists, of an entry that need not be there any more.
type position struct {
	created int64
	id      string
}

func positionOf(created time.Time, id string) position {
	return position{created.UnixMicro(), id}
}

// compare is the order of lists: by creation, then by name. It is total, and an object's place in it never changes.
func compare[E entry[E]](a, b E) int {
	x, y := a.head(), b.head()
	switch {
	case x.created < y.created:
		return -1
	case x.created > y.created:
		return 1
	}
	return strings.Compare(x.id, y.id)
}

// createdAt returns spec.createdAt, else when the API server made the object.
func createdAt(object metav1.Object, spec *metav1.MicroTime) time.Time {
	if spec != nil {
		return spec.Time
	}
	return object.GetCreationTimestamp().Time
}
