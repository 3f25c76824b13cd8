package directory

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"
	"unique"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/names"
	"github.com/scim-operator/scim-operator/scimserver/protocol"
)

// Entry is one user as the read model has it: the bytes that lists show, and what finds and orders them. The object itself,
// which takes several times the memory, is not kept. An Entry never changes: a newer state is another one.
type Entry struct {
	header
	userName string
	// lastModified is in microseconds since 1970, as header.created is.
	lastModified int64

	// observed is the generation that the controller has seen; revocation tells how far it has ended the person's access.
	observed   int64
	revocation Revocation
	// generation is the object's, its low half: enough to tell two of them apart.
	generation uint32

	rendering
}

// rendering is a user's JSON, without groups and without the base URL. Groups come and go without a change of the user: they
// are put in for each answer, before meta. It is the same whatever attributes the App has, and nothing that a client ever
// sees of a user is missing from it.
type rendering struct {
	body []byte // nil where the object could not be read
	// metaAt is where meta begins, baseAt where the base URL belongs.
	metaAt, baseAt uint32
	// containers is protocol.Resource's, as JSON; most users of an App share it. The zero Handle: none.
	containers unique.Handle[string]
}

var noContainers unique.Handle[string]

// newEntry returns what is kept of a user. It keeps nothing of the object itself.
func newEntry(user *v1alpha1.User) *Entry {
	spec := &user.Spec
	e := &Entry{
		header: header{
			id: user.Name, app: unique.Make(types.NamespacedName{Namespace: user.Namespace, Name: spec.App}),
			uid: user.UID, resourceVersion: user.ResourceVersion,
			key: spec.UserNameKey, externalID: spec.ExternalID,
			created:  createdAt(user, spec.CreatedAt).UnixMicro(),
			reserved: user.IsNameReserved(), terminating: user.DeletionTimestamp != nil,
		},
		userName:     spec.UserName,
		lastModified: lastModified(user).UnixMicro(),
		generation:   uint32(user.Generation),
		observed:     user.Status.ObservedGeneration,
		revocation:   revocationOf(user),
	}
	if e.key == e.userName {
		e.key = e.userName // one copy of the text
	}
	if e.emails = emails(user); len(e.emails) > 0 && e.emails[0] == e.key {
		e.emails[0] = e.key
	}
	// A user that cannot be rendered is an error for each request that shows it.
	e.rendering, _ = render(user)
	return e
}

func (e *Entry) head() *header { return &e.header }

func (e *Entry) with(header header) *Entry {
	next := *e
	next.header = header
	return &next
}

func (*Entry) at(p position) *Entry { return &Entry{header: header{id: p.id, created: p.created}} }

// Compact is the transformation of the cache that a Directory is made with. Of users it keeps Entries only, of other objects
// everything but managed fields. It returns no error.
func Compact(object any) (any, error) {
	if user, ok := object.(*v1alpha1.User); ok {
		return newEntry(user), nil
	}
	if accessor, err := meta.Accessor(object); err == nil && accessor.GetManagedFields() != nil {
		accessor.SetManagedFields(nil)
	}
	return object, nil
}

// GetObjectMeta tells a cache which object the entry is of.
func (e *Entry) GetObjectMeta() metav1.Object {
	return &metav1.ObjectMeta{Namespace: e.app.Value().Namespace, Name: e.id, UID: e.uid, ResourceVersion: e.resourceVersion}
}

func lastModified(user *v1alpha1.User) time.Time {
	return createdAt(user, user.Spec.ModifiedAt())
}

// emails returns the folded addresses of a user, without repetition.
func emails(user *v1alpha1.User) []string {
	var folded []string
	for _, email := range user.Spec.Emails {
		if key := names.Fold(email.Value); key != "" && !slices.Contains(folded, key) {
			folded = append(folded, key)
		}
	}
	return slices.Clip(folded)
}

// Meta returns what the server knows about a user (RFC 7643 section 3.1). baseURL has no slash at the end.
func Meta(user *v1alpha1.User, baseURL string) protocol.Meta {
	return protocol.Meta{
		ID: user.Name, Location: baseURL + location(user.Name), Version: userVersion(user, nil).String(),
		Created: createdAt(user, user.Spec.CreatedAt), LastModified: lastModified(user),
	}
}

func location(id string) string { return "/Users/" + id }

// plainSchemas are RFC 7643's.
var plainSchemas = sync.OnceValue(func() *protocol.SchemaSet { return SchemasOf(&v1alpha1.App{}) })

const (
	metaBegin     = `"meta":{`
	locationBegin = `"location":"`
	versionBegin  = `"version":"\"`
	// versionEnd ends a user's JSON, after meta.version's own text.
	versionEnd = `\""}}`
)

func render(user *v1alpha1.User) (rendering, error) {
	resource, err := Resource(user)
	if err != nil {
		return rendering{}, err
	}
	body, err := plainSchemas().Render(resource, Meta(user, ""), protocol.Projection{})
	if err != nil {
		return rendering{}, fmt.Errorf("render user %s: %w", user.Name, err)
	}
	// meta comes last, and no string in JSON holds a bare quote: the last match is the location.
	base := bytes.LastIndex(body, []byte(locationBegin+location(user.Name))) + len(locationBegin)
	begin := bytes.LastIndex(body, []byte(metaBegin))
	if begin < 0 || base < begin || !bytes.HasSuffix(body, []byte(versionEnd)) {
		return rendering{}, fmt.Errorf("render user %s: meta is not as expected", user.Name)
	}
	made := rendering{body: bytes.Clone(body), metaAt: uint32(begin), baseAt: uint32(base)}
	if len(resource.Containers) > 0 {
		containers, err := json.Marshal(resource.Containers)
		if err != nil {
			return rendering{}, err
		}
		made.containers = unique.Make(string(containers))
	}
	return made, nil
}

// problem is the error of a user that could not be rendered.
func (e *Entry) problem() error {
	if e.body == nil {
		return fmt.Errorf("user %s cannot be shown: the object holds what no client can have sent", e.id)
	}
	return nil
}

// append adds the user to dst, with the groups that it is in.
func (r *rendering) append(dst []byte, groups []GroupRef, base []byte) ([]byte, error) {
	dst = append(dst, r.body[:r.metaAt]...)
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
	dst = append(append(append(dst, r.body[r.metaAt:r.baseAt]...), base...), r.body[r.baseAt:]...)
	if len(groups) > 0 {
		// meta.version is the last of all, and the groups are a part of it.
		dst = append(append(dst[:len(dst)-len(versionEnd)], shownSuffix(groupsDigest(groups))...), versionEnd...)
	}
	return dst, nil
}

// resource returns the user as SCIM describes it, which is what Resource returned for the object.
func (e *Entry) resource() (protocol.Resource, error) {
	if err := e.problem(); err != nil {
		return protocol.Resource{}, err
	}
	resource := protocol.Resource{Attributes: protocol.ReadRendered(e.body)}
	for _, name := range []string{"schemas", "id", "meta"} {
		delete(resource.Attributes, name)
	}
	if e.containers == noContainers {
		return resource, nil
	}
	if err := json.Unmarshal([]byte(e.containers.Value()), &resource.Containers); err != nil {
		return protocol.Resource{}, err
	}
	resource.Unpack()
	return resource, nil
}

// Version is meta.version of the user in these groups.
func (e *Entry) Version(groups []GroupRef) string {
	v := version{shown: groupsDigest(groups)}
	if at := bytes.LastIndex(e.body, []byte(versionBegin)); at >= 0 {
		v.object = string(e.body[at+len(versionBegin) : len(e.body)-len(versionEnd)])
	}
	return v.String()
}

// meta is Meta of the object, with groups and the version that they make.
func (e *Entry) meta(baseURL string, groups []GroupRef) protocol.Meta {
	return protocol.Meta{
		ID: e.id, Location: baseURL + location(e.id), Version: e.Version(groups), Groups: groups,
		Created: e.CreatedAt(), LastModified: time.UnixMicro(e.lastModified).UTC(),
	}
}

// jsonBase returns a base URL as it stands inside a JSON string.
func jsonBase(baseURL string) ([]byte, error) {
	quoted, err := json.Marshal(baseURL)
	if err != nil {
		return nil, err
	}
	return quoted[1 : len(quoted)-1], nil
}
