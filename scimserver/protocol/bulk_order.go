package protocol

import (
	"errors"
	"iter"
	"net/url"
	"slices"
	"strings"

	"github.com/scim-operator/scim-operator/internal/names"
)

// BulkNames returns the names that a resource has now, by attribute: userName and externalId of a user, displayName of a group.
// It returns nil where it knows no such resource.
type BulkNames func(endpoint, id string) map[string]string

// namesOf lists, by endpoint, the attributes by which an operation finds a resource or collides with one.
var namesOf = map[string][]string{"Users": {"userName", "externalId"}, "Groups": {"displayName"}}

// Dependencies lists, for each step of a plan, the earlier steps that it has to come after. Steps that do not depend on each
// other may run at the same time; the result is that of the plan's order (RFC 7644 section 3.7).
//
// Steps keep their order where they are about one resource, where one refers to what the other creates, and where they may
// be about one name, even if one takes it and the other gives it up. names, which may be nil, tells the names of a resource.
// An operation on a version, and a removal of members by their names, come after all before them and before all after.
func (b *BulkRequest) Dependencies(steps []BulkStep, names BulkNames) [][]int {
	order := bulkOrder{
		operations: b.Operations, names: names, barrier: -1,
		after: make([][]int, len(steps)), last: map[string]int{}, sharing: map[string][]int{}, held: map[string][]string{},
		targets: map[string]bool{},
	}
	for _, o := range b.Operations {
		if endpoint, id := o.target(); endpoint == "Users" && id != "" {
			order.targets[id] = true
		}
	}
	for at, step := range steps {
		if step.Phase == BulkRefused {
			continue
		}
		order.add(at, &b.Operations[step.Index])
	}
	return order.after
}

// bulkOrder goes through the steps of a plan.
type bulkOrder struct {
	operations []BulkOperation
	names      BulkNames
	targets    map[string]bool // ids of users that operations are about
	after      [][]int
	barrier    int // the last step that all others wait for; -1: none yet
	// last maps a key to the latest step that held it alone, sharing to the steps since then that shared it.
	last    map[string]int
	sharing map[string][]int
	held    map[string][]string // names that a resource has or may have had, as keys
}

func (b *bulkOrder) add(at int, o *BulkOperation) {
	if b.barrier >= 0 {
		b.after[at] = append(b.after[at], b.barrier)
	}
	if o.Version != "" || o.selectsByName() {
		for before := b.barrier + 1; before < at; before++ {
			b.after[at] = append(b.after[at], before)
		}
		b.barrier = at
	}
	endpoint, _ := o.target()
	resource := o.resource()
	if resource != "" {
		b.alone(at, resource)
	}
	for _, name := range b.namesAround(o, endpoint, resource) {
		b.alone(at, name)
	}
	for _, reference := range o.references {
		if key := bulkIDPrefix + reference; key != resource {
			b.together(at, key)
		}
	}
	if endpoint != "Groups" {
		return
	}
	for _, id := range o.mentioned(b.targets) {
		b.together(at, "/Users/"+id)
	}
}

// alone says that a step has something to itself.
func (b *bulkOrder) alone(at int, key string) {
	b.together(at, key)
	for _, other := range b.sharing[key] {
		if other != at {
			b.after[at] = append(b.after[at], other)
		}
	}
	b.last[key] = at
	delete(b.sharing, key)
}

// together says that a step is about something that others may be about at the same time.
func (b *bulkOrder) together(at int, key string) {
	if last, ok := b.last[key]; ok && last != at {
		b.after[at] = append(b.after[at], last)
	}
	b.sharing[key] = append(b.sharing[key], at)
}

// namesAround lists the names that an operation takes or may give up.
func (b *bulkOrder) namesAround(o *BulkOperation, endpoint, resource string) []string {
	held, known := b.held[resource]
	if _, id := o.target(); !known && id != "" && b.names != nil {
		for attribute, value := range b.names(endpoint, id) {
			held = append(held, nameKey(endpoint, attribute, value))
		}
	}
	walkNames(o.Data, endpoint, 0, func(attribute, value string) {
		if key := nameKey(endpoint, attribute, value); !slices.Contains(held, key) {
			held = append(held, key)
		}
	})
	if resource != "" {
		b.held[resource] = held
	}
	return held
}

func nameKey(endpoint, attribute, value string) string {
	if attribute != "externalId" {
		value = names.Fold(value)
	}
	return endpoint + "." + attribute + "=" + value
}

// target takes the path apart. The id is empty for a POST, and where the path refers to what another operation creates.
func (o *BulkOperation) target() (endpoint, id string) {
	endpoint, id, _ = strings.Cut(strings.TrimPrefix(o.Path, "/"), "/")
	if decoded, err := url.PathUnescape(id); err == nil {
		id = decoded
	}
	if strings.HasPrefix(id, bulkIDPrefix) {
		id = ""
	}
	return endpoint, id
}

// resource names what the operation is about; a POST without a bulkId is about nothing that others could name.
func (o *BulkOperation) resource() string {
	switch at := strings.LastIndex(o.Path, "/"+bulkIDPrefix); {
	case at >= 0:
		return o.Path[at+1:]
	case o.Method != "POST":
		endpoint, id := o.target()
		return "/" + endpoint + "/" + id
	case o.BulkID != "":
		return bulkIDPrefix + o.BulkID
	}
	return ""
}

// selectsByName reports whether a PATCH chooses members by the names of users, which other operations may change.
func (o *BulkOperation) selectsByName() bool {
	if o.Method != "PATCH" {
		return false
	}
	for start, end := range rawStrings(o.Data) {
		text := strings.ToLower(string(unquoted(o.Data[start:end])))
		if bracket := strings.IndexByte(text, '['); bracket >= 0 && strings.Contains(text[bracket:], "display") {
			return true
		}
	}
	return false
}

// mentioned lists which of these ids the data names, by themselves or in a filter.
func (o *BulkOperation) mentioned(ids map[string]bool) []string {
	if len(ids) == 0 {
		return nil
	}
	var found []string
	for start, end := range rawStrings(o.Data) {
		for part := range strings.SplitSeq(string(unquoted(o.Data[start:end])), `"`) {
			if ids[part] {
				found = append(found, part)
			} else if _, id, ok := cutLast(part, "/"); ok && ids[id] {
				found = append(found, id)
			}
		}
	}
	return found
}

// walkNames visits the names in an operation's data: values of the attributes in a resource or a path-less value, however
// deep its containers, and values of PATCH operations with such an attribute as path.
func walkNames(raw []byte, endpoint string, depth int, visit func(attribute, value string)) {
	if len(raw) == 0 || depth > 2*maxContainerDepth {
		return
	}
	switch raw[0] {
	case '[':
		for element := range rawElements(raw) {
			walkNames(element, endpoint, depth+1, visit)
		}
	case '{':
		for name, value := range rawMembers(raw) {
			attribute := nameAttribute(endpoint, string(name))
			if strings.EqualFold(string(name), "path") {
				path, err := rawText(value)
				if attribute = nameAttribute(endpoint, path); err == nil && attribute != "" {
					value, _ = rawMember(raw, "value")
				}
			}
			if attribute == "" {
				walkNames(value, endpoint, depth+1, visit)
				continue
			}
			if len(value) == 0 {
				continue
			}
			for text := range texts(value) {
				visit(attribute, text)
			}
		}
	}
}

// texts visits a value that is a string, or the strings of a list.
func texts(value []byte) iter.Seq[string] {
	return func(yield func(string) bool) {
		_ = eachElement(value, func(element []byte) error {
			text, err := rawText(element)
			if err == nil && text != "" && !yield(text) {
				return errEnough
			}
			return nil
		})
	}
}

var errEnough = errors.New("enough")

// nameAttribute is the attribute that a key or a path means, where it is one of a name: in any letter case, with or without a URN.
func nameAttribute(endpoint, written string) string {
	last := strings.TrimSpace(written[strings.LastIndexByte(written, ':')+1:])
	for _, attribute := range namesOf[endpoint] {
		if strings.EqualFold(last, attribute) {
			return attribute
		}
	}
	return ""
}
