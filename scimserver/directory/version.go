package directory

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/cespare/xxhash/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/membership"
	"github.com/scim-operator/scim-operator/scimserver/protocol"
)

// Precondition is what a client asks of the version that its change is made to (RFC 7644 section 3.14, RFC 9110 section
// 13.1). The zero value asks nothing.
type Precondition struct{ Match, NoneMatch protocol.ETags }

// IsZero says that any version will do.
func (c Precondition) IsZero() bool { return c.Match.IsZero() && c.NoneMatch.IsZero() }

func (c Precondition) check(current version) error {
	text := current.String()
	if !c.Match.IsZero() && !c.Match.MatchStrong(text) {
		return protocol.PreconditionFailed("The resource has changed: it has the version %s, which If-Match does not name.", text)
	}
	if !c.NoneMatch.IsZero() && c.NoneMatch.MatchWeak(text) {
		return protocol.PreconditionFailed("The resource has the version %s, which If-None-Match names.", text)
	}
	return nil
}

func check(conditions []Precondition, current version) error {
	for _, condition := range conditions {
		if err := condition.check(current); err != nil {
			return err
		}
	}
	return nil
}

// version is meta.version, a strong ETag: it changes with everything that an answer shows.
type version struct {
	// object is the version of the stored object: what clients can write counts, and the controller's status does not. It
	// begins with a part of the UID, because a restore from a backup starts the generations again.
	object string
	// shown stands for what an answer shows of other objects: a user's groups, the names of a group's members; 0: nothing.
	shown uint64
}

func (v version) String() string {
	if v.shown == 0 {
		return `"` + v.object + `"`
	}
	return `"` + v.object + shownSuffix(v.shown) + `"`
}

func shownSuffix(shown uint64) string { return "-" + strconv.FormatUint(shown, 36) }

func objectVersion(object metav1.Object, unseenWrites int64) string {
	uid, _, _ := strings.Cut(string(object.GetUID()), "-")
	return uid + "-" + strconv.FormatInt(object.GetGeneration()-unseenWrites, 10)
}

func userVersion(user *v1alpha1.User, groups []GroupRef) version {
	return version{objectVersion(user, user.Spec.UnseenWrites), groupsDigest(groups)}
}

// groupsDigest stands for a user's groups, as an answer shows them.
func groupsDigest(groups []GroupRef) uint64 {
	if len(groups) == 0 {
		return 0
	}
	var digest xxhash.Digest
	digest.Reset()
	for _, group := range groups {
		for _, text := range []string{group.ID, "\x00", group.Display, "\x00"} {
			_, _ = digest.WriteString(text) // never an error
		}
	}
	return digest.Sum64()
}

// shownVersion is a group's version by the members that an answer shows.
func shownVersion(group *v1alpha1.Group, members []protocol.Member) version {
	v := version{object: objectVersion(group, group.Spec.UnseenWrites)}
	for _, member := range members {
		v.shown += membership.NameDigest(member.ID, member.Display)
	}
	return v
}

// lagPatience is how long a change waits for this process' read model, if the version in If-Match differs only in what is
// shown of other objects: the client may have it from another replica with a newer read model. A version that is old indeed
// is refused after that time.
const lagPatience = time.Second

// await checks conditions, and does so again while this process may only be behind: each time that changed tells of news.
func await(ctx context.Context, conditions []Precondition, changed func() <-chan struct{}, current func() version) error {
	timer := time.NewTimer(lagPatience)
	defer timer.Stop()
	for {
		news := changed()
		now := current()
		err := check(conditions, now)
		if err == nil || !mayCatchUp(conditions, now) {
			return err
		}
		select {
		case <-news:
		case <-timer.C:
			return err
		case <-ctx.Done():
			return err
		}
	}
}

// mayCatchUp says whether every condition that fails names the stored object as it is.
func mayCatchUp(conditions []Precondition, current version) bool {
	for _, condition := range conditions {
		if condition.check(current) != nil && !condition.Match.NamePrefix(current.object) {
			return false
		}
	}
	return true
}
