package protocol

import (
	"encoding/json"
	"errors"
	"io"
	"strings"
)

// Limits of a group's body. Its members are bounded by the size of the body alone.
const (
	// MaxGroupAttributes bounds everything but the members, in bytes.
	MaxGroupAttributes = 1 << 20
	// maxContainerDepth bounds containers of the core schema inside each other.
	maxContainerDepth = 8
)

// GroupResource is a decoded group.
type GroupResource struct {
	// Attributes is the group without its members.
	Attributes Resource
	// Members are ids, each once, in the order in which they came.
	Members []string
	// MembersSet is false where the body says nothing about members: the attribute is absent or null. It is true for [].
	//
	// RFC 7644 section 3.5.1 leaves it to the server whether a PUT that leaves an attribute out clears it. Here it does not
	// clear members: many clients leave out what they do not mean to change, and a group emptied by mistake takes away every
	// member's access. What empties a group is "members": [].
	MembersSet bool
}

// Membership is what a POST or PUT of the group does to its members.
func (g GroupResource) Membership() MembershipDelta {
	return MembershipDelta{ReplaceAll: g.MembersSet, Add: g.Members}
}

// DecodeGroup reads the body of a POST or PUT with the tolerances of DecodeUser, as a stream: a group of 100,000 members costs
// the list of their ids. A member is an object or its id alone; of an object only value counts, or $ref where that is all there
// is. The errors are those of DecodeUser, invalidValue for a member that is a group, and 413 beyond MaxGroupAttributes. An error
// of the reader itself is returned as it is.
func (s *SchemaSet) DecodeGroup(body io.Reader) (GroupResource, error) {
	source := &reader{reader: body}
	d := groupDecoder{set: s, json: json.NewDecoder(source)}
	d.json.UseNumber()
	object, err := d.body()
	if source.err != nil {
		return GroupResource{}, source.err
	}
	if err != nil {
		return GroupResource{}, invalid(err)
	}
	inner := decoder{set: s, out: Resource{Attributes: make(map[string]any, len(object))}, stated: map[string]int{}}
	if err := inner.object(object, "", 0); err != nil {
		return GroupResource{}, invalid(err)
	}
	group := GroupResource{Attributes: inner.out}
	delete(group.Attributes.Attributes, "members")
	group.Attributes.prune()
	if err := checkGrowth(Resource{}, group.Attributes); err != nil {
		return GroupResource{}, err
	}
	if d.members != nil {
		group.Members, group.MembersSet = d.members.ids, true
	}
	return group, nil
}

// reader keeps an error of the underlying reader, which json.Decoder would mix with its own.
type reader struct {
	reader io.Reader
	err    error
}

func (r *reader) Read(p []byte) (int, error) {
	n, err := r.reader.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		r.err = err
	}
	return n, err
}

type groupDecoder struct {
	set  *SchemaSet
	json *json.Decoder
	raw  json.RawMessage // reused for each value
	size int             // bytes of what is no member, so far
	// members are those with the greatest precedence so far; nil where there are none.
	members    *memberList
	precedence int
}

// body reads the whole body, and returns all but the members.
func (d *groupDecoder) body() (map[string]any, error) {
	token, err := d.json.Token()
	if errors.Is(err, io.EOF) {
		return nil, emptyBody()
	}
	if err != nil {
		return nil, malformed(err)
	}
	if token != json.Delim('{') {
		return nil, notAnObject(kindOfToken(token))
	}
	object, err := d.object(0)
	if err != nil {
		return nil, err
	}
	if _, err := d.json.Token(); !errors.Is(err, io.EOF) {
		return nil, malformed(errors.New("more than one value"))
	}
	return object, admit(object, MaxDepth)
}

// object reads the rest of an object after its brace: the body's, or a core container's in it.
func (d *groupDecoder) object(depth int) (map[string]any, error) {
	object := map[string]any{}
	for d.json.More() {
		token, err := d.json.Token()
		if err != nil {
			return nil, malformed(err)
		}
		key, _ := token.(string)
		if d.size += len(key); d.size > MaxGroupAttributes || len(object) > MaxMembers {
			return nil, d.tooLarge(len(object))
		}
		if d.set.namesMembers(key) {
			err = d.readMembers(precedenceOf(key, depth))
			if err != nil {
				return nil, within("members", err)
			}
			continue
		}
		if err = d.attribute(object, key, depth); err != nil {
			return nil, err
		}
	}
	if _, err := d.json.Token(); err != nil { // the closing brace
		return nil, malformed(err)
	}
	return object, nil
}

func (d *groupDecoder) tooLarge(members int) error {
	if members > MaxMembers {
		return tooManyMembers(members)
	}
	return PayloadTooLarge("the group's attributes, members apart, have more than %d bytes", MaxGroupAttributes)
}

// namesMembers reports whether a key is the attribute members, alone or after the core schema's URN.
func (s *SchemaSet) namesMembers(key string) bool {
	if strings.IndexByte(key, ':') < 0 {
		return strings.EqualFold(key, "members")
	}
	found, rest := s.split(key)
	return found == s.core && strings.EqualFold(rest, "members")
}

// precedenceOf ranks the places that members can stand in: the top level wins, as for every attribute of RFC 7643.
func precedenceOf(key string, depth int) int {
	switch {
	case depth > 0:
		return -depth
	case key == "members":
		return 0
	default:
		return 1
	}
}

// attribute reads one value that is not the members.
func (d *groupDecoder) attribute(object map[string]any, key string, depth int) error {
	if !d.set.isCoreContainer(key) {
		value, err := d.value()
		object[key] = value
		return err
	}
	token, err := d.json.Token()
	switch {
	case err != nil:
		return malformed(err)
	case token == json.Delim('{') && depth == maxContainerDepth:
		return InvalidSyntax("more than %d containers of the core schema are inside each other", maxContainerDepth)
	case token == json.Delim('{'):
		object[key], err = d.object(depth + 1)
		return err
	case token == json.Delim('['):
		if d.json.More() {
			return within(key, expected("an object", []any{}))
		}
		delete(object, key)
		_, err = d.json.Token()
		return err
	case token == nil, token == "":
		delete(object, key)
		return nil
	default:
		return within(key, &typeError{problem: "expected an object, received " + kindOfToken(token)})
	}
}

// value reads one value as parseJSON does.
func (d *groupDecoder) value() (any, error) {
	if err := d.json.Decode(&d.raw); err != nil {
		return nil, malformed(err)
	}
	if d.size += len(d.raw); d.size > MaxGroupAttributes {
		return nil, d.tooLarge(0)
	}
	return parseJSON(d.raw)
}

// readMembers reads the value of members element by element.
func (d *groupDecoder) readMembers(precedence int) error {
	token, err := d.json.Token()
	if err != nil {
		return malformed(err)
	}
	if token == nil || token == "" {
		return nil
	}
	members := newMemberList()
	switch token {
	case json.Delim('['):
		for d.json.More() {
			if err := d.json.Decode(&d.raw); err != nil {
				return malformed(err)
			}
			if err := members.add(d.raw); err != nil {
				return err
			}
		}
		if _, err := d.json.Token(); err != nil {
			return malformed(err)
		}
	case json.Delim('{'):
		raw, err := d.restOfObject()
		if err != nil {
			return err
		}
		if err := members.add(raw); err != nil {
			return err
		}
	default:
		raw, err := json.Marshal(token)
		if err != nil {
			return malformed(err)
		}
		if err := members.add(raw); err != nil {
			return err
		}
	}
	if d.members == nil || precedence >= d.precedence {
		d.members, d.precedence = members, precedence
	}
	return nil
}

// restOfObject gives the JSON of an object after its opening brace has been read.
func (d *groupDecoder) restOfObject() ([]byte, error) {
	raw := []byte{'{'}
	for d.json.More() {
		token, err := d.json.Token()
		if err != nil {
			return nil, malformed(err)
		}
		if len(raw) > 1 {
			raw = append(raw, ',')
		}
		key, _ := token.(string)
		if err := d.json.Decode(&d.raw); err != nil {
			return nil, malformed(err)
		}
		raw = append(append(appendString(raw, key), ':'), d.raw...)
	}
	_, err := d.json.Token()
	if err != nil {
		return nil, malformed(err)
	}
	return append(raw, '}'), nil
}

func kindOfToken(token json.Token) string {
	if delimiter, ok := token.(json.Delim); ok {
		if delimiter == '[' {
			return kindOf([]any{})
		}
		return kindOf(map[string]any{})
	}
	return kindOf(token)
}
