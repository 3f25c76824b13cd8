package directory

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/scimserver/protocol"
)

// Entry is one user as the read model has it. It never changes: a newer state is another Entry.
type Entry struct {
	// User is the informer's own object: not to be changed.
	User *v1alpha1.User

	created time.Time
	// verified is the key whose claim this process saw naming the user. It stays true while the user has the key.
	verified string
	// deleted is set by this process' own deletion, before the watch tells.
	deleted bool
	render  atomic.Pointer[rendering]
}

// rendering is a user's JSON, without groups, cut before meta, where groups belong, and where the base URL does. Groups
// come and go without a change of the user: they are put in for each answer.
type rendering struct {
	schemas          *protocol.SchemaSet
	head, meta, tail []byte
}

func newEntry(user *v1alpha1.User, verified string) *Entry {
	entry := &Entry{User: user, created: createdAt(user)}
	if verified == user.Spec.UserNameKey {
		entry.verified = verified
	}
	return entry
}

// inherit takes over from an earlier entry of the same object what still holds.
func (e *Entry) inherit(old *Entry) {
	if e.User.UID != old.User.UID {
		return
	}
	if e.verified == "" && old.verified == e.User.Spec.UserNameKey {
		e.verified = old.verified
	}
	e.deleted = e.deleted || old.deleted
	if e.User.ResourceVersion == old.User.ResourceVersion {
		e.render.Store(old.render.Load())
	}
}

func createdAt(user *v1alpha1.User) time.Time {
	if user.Spec.CreatedAt != nil {
		return user.Spec.CreatedAt.Time
	}
	return user.CreationTimestamp.Time
}

// reserved says whether the controller has verified, for the very name that the user has, that its claim names it.
func reserved(user *v1alpha1.User) bool {
	return user.Status.ReservedKey == user.Spec.UserNameKey &&
		meta.IsStatusConditionTrue(user.Status.Conditions, v1alpha1.ConditionNameReserved)
}

// visible says whether SCIM clients see the user.
func (e *Entry) visible() bool {
	return !e.deleted && e.User.DeletionTimestamp == nil && (e.verified != "" || reserved(e.User))
}

func (e *Entry) app() types.NamespacedName {
	return types.NamespacedName{Namespace: e.User.Namespace, Name: e.User.Spec.App}
}

// compare is the order of lists: by creation, then by name. It is total, and a user's place in it never changes.
func (e *Entry) compare(other *Entry) int {
	if order := e.created.Compare(other.created); order != 0 {
		return order
	}
	return strings.Compare(e.User.Name, other.User.Name)
}

// emails returns the folded addresses of a user, without repetition.
func emails(user *v1alpha1.User) []string {
	var folded []string
	for _, email := range user.Spec.Emails {
		if key := protocol.Fold(email.Value); key != "" && !slices.Contains(folded, key) {
			folded = append(folded, key)
		}
	}
	return folded
}

// Meta returns what the server knows about a user (RFC 7643 section 3.1). baseURL has no slash at the end.
func Meta(user *v1alpha1.User, baseURL string) protocol.Meta {
	m := protocol.Meta{
		ID: user.Name, Location: baseURL + location(user), Version: userVersion(user, nil).String(),
		Created: createdAt(user), LastModified: createdAt(user),
	}
	if user.Spec.LastModified != nil {
		m.LastModified = user.Spec.LastModified.Time
	}
	return m
}

func location(user *v1alpha1.User) string { return "/Users/" + user.Name }

// rendered returns the user's JSON, made once for a set of schemas: whoever needs it first makes it.
func (e *Entry) rendered(schemas *protocol.SchemaSet) (*rendering, error) {
	if made := e.render.Load(); made != nil && made.schemas == schemas {
		return made, nil
	}
	resource, err := Resource(e.User)
	if err != nil {
		return nil, err
	}
	body, err := schemas.Render(resource, Meta(e.User, ""), protocol.Projection{})
	if err != nil {
		return nil, fmt.Errorf("render user %s: %w", e.User.Name, err)
	}
	// meta comes last, and no string in JSON holds a bare quote: the last match is the location.
	mark := []byte(`"location":"` + location(e.User))
	cut := bytes.LastIndex(body, mark)
	if cut < 0 {
		return nil, fmt.Errorf("render user %s: no location", e.User.Name)
	}
	cut += len(`"location":"`)
	before := bytes.LastIndex(body[:cut], []byte(`"meta":{`))
	if before < 0 {
		return nil, fmt.Errorf("render user %s: no meta", e.User.Name)
	}
	if !bytes.HasSuffix(body, []byte(versionEnd)) {
		return nil, fmt.Errorf("render user %s: no version at the end", e.User.Name)
	}
	made := &rendering{schemas: schemas, head: body[:before], meta: body[before:cut], tail: body[cut:]}
	e.render.Store(made)
	return made, nil
}

// append adds the user to dst, with the groups that it is in.
func (r *rendering) append(dst []byte, groups []GroupRef, base []byte) ([]byte, error) {
	dst = append(dst, r.head...)
	for i, group := range groups {
		opening := `,{"$ref":"`
		if i == 0 {
			opening = `"groups":[{"$ref":"`
		}
		display, err := json.Marshal(group.Display)
		if err != nil {
			return nil, err
		}
		// An id is an object's name: nothing in it needs an escape.
		dst = append(append(append(append(dst, opening...), base...), "/Groups/"...), group.ID...)
		dst = append(append(append(dst, `","display":`...), display...), `,"type":"direct","value":"`...)
		dst = append(append(dst, group.ID...), `"}`...)
	}
	if len(groups) > 0 {
		dst = append(dst, "],"...)
	}
	dst = append(append(append(dst, r.meta...), base...), r.tail...)
	if len(groups) > 0 {
		// meta.version is the last of all, and the groups are a part of it.
		dst = append(append(dst[:len(dst)-len(versionEnd)], shownSuffix(groupsDigest(groups))...), versionEnd...)
	}
	return dst, nil
}

// versionEnd ends a user's JSON, after meta.version's own text.
const versionEnd = `\""}}`

// jsonBase returns a base URL as it stands inside a JSON string.
func jsonBase(baseURL string) ([]byte, error) {
	quoted, err := json.Marshal(baseURL)
	if err != nil {
		return nil, err
	}
	return quoted[1 : len(quoted)-1], nil
}
