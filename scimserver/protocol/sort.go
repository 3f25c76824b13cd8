package protocol

import (
	"cmp"
	"encoding/json"
	"math"
	"strings"

	"github.com/scim-operator/scim-operator/internal/datetime"
	"github.com/scim-operator/scim-operator/internal/names"
)

// Sort is a parsed sortBy and sortOrder (RFC 7644 section 3.4.2.3). The zero value sorts nothing. It is immutable, and safe for
// concurrent use.
type Sort struct {
	by         reference
	descending bool
	bound      bool
}

// ParseSort reads the parameters sortBy, an attribute in the notation of filters, and sortOrder: ascending, descending, or empty
// for ascending. An empty sortBy gives the zero value. Errors are invalidPath for sortBy and invalidValue for sortOrder.
func ParseSort(sortBy, sortOrder string) (Sort, error) {
	var s Sort
	switch order := strings.TrimSpace(sortOrder); {
	case order == "", strings.EqualFold(order, "ascending"):
	case strings.EqualFold(order, "descending"):
		s.descending = true
	default:
		return Sort{}, InvalidValue("sortOrder is neither ascending nor descending")
	}
	sortBy = strings.TrimSpace(sortBy)
	if sortBy == "" {
		return Sort{}, nil
	}
	if len(sortBy) > MaxPathLength || !validReference(sortBy) {
		return Sort{}, InvalidPath("sortBy: expected an attribute name, such as userName or name.familyName")
	}
	s.by = reference{written: sortBy, inPath: true, position: 1}
	return s, nil
}

// IsZero reports whether there is nothing to sort by.
func (s Sort) IsZero() bool { return s.by.written == "" }

// Descending reports whether the greatest comes first.
func (s Sort) Descending() bool { return s.descending }

// Bind resolves the attribute for a resource type. It answers invalidPath for a complex attribute that is no single value: name
// one of its sub-attributes. A multi-valued one stands for its values.
func (s Sort) Bind(set *SchemaSet) (Sort, error) {
	if s.IsZero() {
		return s, nil
	}
	by, err := binder{set: set}.resolve(s.by)
	if err != nil {
		return Sort{}, InvalidPath("sortBy: %s", detailOf(err))
	}
	if a := by.compared(); a != nil && a.Type == TypeComplex {
		if by.sub != "" || a.sub("value") == nil {
			return Sort{}, InvalidPath("sortBy: %s is complex: name one of its sub-attributes", by.written)
		}
		by = by.withSub("value")
	}
	s.by, s.bound = by, true
	return s, nil
}

// keyKind is the type of a key. Keys of different types are in the order of these.
type keyKind uint8

const (
	keyBoolean keyKind = iota + 1
	keyNumber
	keyTime
	keyText
)

// SortKey is what one resource is sorted by. The zero value is the key of a resource without the attribute.
type SortKey struct {
	kind keyKind
	text string
	// number holds a number, a boolean (0 or 1), or the seconds of a time since 1970.
	number      number
	nanoseconds int64
}

// Key takes the key from a complete resource. A multi-valued attribute gives its primary value, else its first. A Sort that is not
// bound gives the zero value.
func (s Sort) Key(attributes map[string]any) SortKey {
	if !s.bound {
		return SortKey{}
	}
	value, a := s.by.sortValue(attributes)
	return newSortKey(a, value)
}

// sortValue finds the value, and the attribute that says how it compares.
func (r reference) sortValue(attributes map[string]any) (any, *attribute) {
	value, ok := r.find(attributes)
	if !ok {
		if r.fallback != nil {
			return r.fallback.sortValue(attributes)
		}
		return nil, nil
	}
	value = preferred(value)
	if object, isObject := value.(map[string]any); isObject {
		sub := r.sub
		if sub == "" {
			sub = "value"
		}
		_, value, _ = member(object, sub)
		value = preferred(value)
	} else if r.sub != "" && r.sub != "value" {
		return nil, nil
	}
	return value, r.compared()
}

// preferred is the primary element of an array, else its first.
func preferred(value any) any {
	list, ok := value.([]any)
	if !ok {
		if set, ok := value.(MemberSet); ok {
			for member := range set.All() {
				return member.element()
			}
			return nil
		}
		return value
	}
	for _, element := range list {
		if object, ok := element.(map[string]any); ok && object["primary"] == true {
			return element
		}
	}
	if len(list) == 0 {
		return nil
	}
	return list[0]
}

func newSortKey(a *attribute, value any) SortKey {
	kind := ""
	if a != nil {
		kind = a.Type
	}
	switch value.(type) {
	case nil, map[string]any, []any:
		return SortKey{}
	}
	switch kind {
	case TypeBoolean:
		if b, err := coerceBoolean(value); err == nil {
			return booleanKey(b.(bool))
		}
	case TypeInteger, TypeDecimal:
		if n, ok := numericValue(value); ok {
			return SortKey{kind: keyNumber, number: n.ranked()}
		}
	case TypeDateTime:
		if text, ok := value.(string); ok {
			if t, ok := datetime.Parse(text); ok {
				return SortKey{kind: keyTime, number: number{integer: t.Unix(), exact: true, float: float64(t.Unix())}, nanoseconds: int64(t.Nanosecond())}
			}
		}
	case "":
		if b, ok := value.(bool); ok {
			return booleanKey(b)
		}
		if n, ok := numberOf(value); ok {
			return SortKey{kind: keyNumber, number: n.ranked()}
		}
	}
	text, err := coerceString(value)
	if err != nil || text == "" {
		return SortKey{}
	}
	if a != nil && a.CaseExact || kind == TypeBinary {
		return SortKey{kind: keyText, text: text.(string)}
	}
	return SortKey{kind: keyText, text: names.Fold(text.(string))}
}

func booleanKey(b bool) SortKey {
	key := SortKey{kind: keyBoolean, number: number{exact: true}}
	if b {
		key.number = number{integer: 1, exact: true, float: 1}
	}
	return key
}

// ranked makes every whole number that an int64 can hold exact, so that comparing is transitive.
func (n number) ranked() number {
	if !n.exact && n.float == math.Trunc(n.float) && n.float >= -1<<63 && n.float < 1<<63 {
		return number{integer: int64(n.float), exact: true, float: n.float}
	}
	return n
}

// Compare is negative where a comes before b, positive where it comes after b, and 0 where they are equal. It is a total
// preorder: resources without the attribute are last in ascending order and first in descending order (RFC 7644 section
// 3.4.2.3). Break ties by something unique, so that pages are stable.
func (s Sort) Compare(a, b SortKey) int {
	if s.descending {
		a, b = b, a
	}
	return a.compare(b)
}

func (k SortKey) compare(other SortKey) int {
	if k.kind != other.kind {
		// Absence, the zero kind, is after everything: 0-1 wraps to the greatest.
		return cmp.Compare(k.kind-1, other.kind-1)
	}
	if order := compareRanked(k.number, other.number); order != 0 {
		return order
	}
	return cmp.Or(cmp.Compare(k.nanoseconds, other.nanoseconds), strings.Compare(k.text, other.text))
}

// compareRanked compares numbers by value. Of equal floats, the exact one is the smaller: only a float beyond the range of int64
// is not exact and whole.
func compareRanked(a, b number) int {
	if a.exact && b.exact {
		return cmp.Compare(a.integer, b.integer)
	}
	if order := cmp.Compare(a.float, b.float); order != 0 || a.exact == b.exact {
		return order
	}
	if a.exact {
		return -1
	}
	return 1
}

// encodedKey is a SortKey's form in a cursor.
type encodedKey struct {
	Kind        keyKind     `json:"k,omitempty"`
	Text        string      `json:"t,omitempty"`
	Number      json.Number `json:"n,omitempty"`
	Nanoseconds int64       `json:"s,omitempty"`
}

// MarshalJSON serves cursors that remember where a page ended. It is no format for clients. It returns no error for a key
// that this package made.
func (k SortKey) MarshalJSON() ([]byte, error) {
	encoded := encodedKey{Kind: k.kind, Text: k.text, Nanoseconds: k.nanoseconds}
	if k.kind != 0 && k.kind != keyText {
		encoded.Number = k.number.text()
	}
	return json.Marshal(encoded)
}

// UnmarshalJSON reads what MarshalJSON wrote. It fails with invalidCursor.
func (k *SortKey) UnmarshalJSON(data []byte) error {
	var encoded encodedKey
	if json.Unmarshal(data, &encoded) != nil || encoded.Kind > keyText {
		return InvalidCursor("the cursor does not come from this server")
	}
	*k = SortKey{kind: encoded.Kind, text: encoded.Text, nanoseconds: encoded.Nanoseconds}
	if encoded.Number != "" {
		n, ok := parseNumber(string(encoded.Number))
		if !ok {
			return InvalidCursor("the cursor does not come from this server")
		}
		k.number = n.ranked()
	}
	return nil
}
