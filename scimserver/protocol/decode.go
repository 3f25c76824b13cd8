package protocol

import (
	"slices"
	"strings"
)

// DecodeUser reads the body of a POST or PUT. Attribute names are matched in any letter case; read-only attributes and
// passwords are dropped; null, "" and [] mean absent; unknown attributes and extensions are kept. An attribute of RFC 7643's core
// schema counts as it stands at top level, and in a container of the schema's URN only where the top level has none; but
// active: false counts wherever it stands. It answers invalidSyntax
// where the body is not a JSON object, and invalidValue, with the attribute's path, where a value has a type that its
// attribute cannot take. Whether required attributes are there is for Validate.
func (s *SchemaSet) DecodeUser(body []byte) (Resource, error) {
	object, err := parseObject(body, MaxDepth)
	if err != nil {
		return Resource{}, err
	}
	d := decoder{set: s, out: Resource{Attributes: make(map[string]any, len(object))}, stated: map[string]int{}}
	if err := d.object(object, "", 0); err != nil {
		return Resource{}, invalid(err)
	}
	d.out.prune()
	return d.out, checkGrowth(Resource{}, d.out)
}

type decoder struct {
	set *SchemaSet
	out Resource
	// stated has the depth at which an attribute of RFC 7643's core schema was found: 0 at top level, 1 in a container.
	stated map[string]int
}

// object takes over the members of a body, or of a core container in it. depth counts the containers around them.
func (d *decoder) object(object map[string]any, container string, depth int) error {
	for _, key := range d.set.ordered(object) {
		var err error
		if key == "" {
			continue
		}
		if strings.IndexByte(key, ':') >= 0 {
			err = d.qualified(key, object[key], depth)
		} else {
			err = d.core(key, object[key], container, depth)
		}
		if err != nil {
			return within(key, err)
		}
	}
	return nil
}

// ordered lists an object's keys: top-level attributes before containers, and the schema's spelling before any other. Of an
// attribute that the App declares, the later one wins: the one with the schema's spelling and place may be the client's copy
// of our own answer, and the other one what the client means to write. Of RFC 7643's own, the top level wins.
func (s *SchemaSet) ordered(object map[string]any) []string {
	keys := make([]string, 0, len(object))
	for key := range object {
		keys = append(keys, key)
	}
	rank := func(key string) int {
		if strings.IndexByte(key, ':') < 0 {
			if a := s.core.attributes[key]; a != nil && a.Name == key {
				return 0
			}
			return 1
		}
		if key == s.core.ID || s.extension(key) != nil && s.extension(key).ID == key {
			return 2
		}
		return 3
	}
	slices.SortFunc(keys, func(a, b string) int {
		if order := rank(a) - rank(b); order != 0 {
			return order
		}
		return strings.Compare(a, b)
	})
	return keys
}

// core takes over one core-level attribute.
func (d *decoder) core(name string, value any, container string, depth int) error {
	a := d.set.core.attribute(name)
	switch {
	case a != nil && a.Mutability == ReadOnly:
		return nil
	case a.isActive():
		return d.active(a, value, depth)
	case a != nil:
		name = a.Name
		if before, stated := d.stated[name]; stated && before < depth {
			return nil
		}
		if a.standard {
			d.stated[name] = depth
		}
	case d.set.isManager(name):
		// Entra's spelling. It wins over a manager in the extension: that one may be a copy of our answer.
		return d.extension(d.set.enterprise, map[string]any{"manager": value})
	}
	value, err := stored(a, value)
	switch {
	case err != nil:
		return err
	case value == nil:
		delete(d.out.Attributes, name)
	default:
		d.out.Attributes[name] = value
		if container != "" && a != nil && a.declared && !a.standard {
			d.out.remember(name, container)
		}
	}
	return nil
}

// active takes over one statement about active. A false wins over any other, wherever it stands: a copy in another place
// must not keep a leaver's access. Otherwise the top level wins.
func (d *decoder) active(a *attribute, value any, depth int) error {
	value, err := coerce(a, value)
	if err != nil {
		return err
	}
	before, stated := d.stated[a.Name]
	if !stated {
		d.stated[a.Name] = depth
	}
	switch {
	case value == false:
		d.out.Attributes[a.Name] = false
	case d.out.Attributes[a.Name] == false, stated && before < depth:
	case value == nil:
		delete(d.out.Attributes, a.Name)
	default:
		d.out.Attributes[a.Name] = value
	}
	return nil
}

// isActive reports whether the attribute is RFC 7643's active (section 4.1.1).
func (a *attribute) isActive() bool { return a != nil && a.standard && a.Name == "active" }

// isManager reports whether a core-level name stands for the enterprise extension's manager.
func (s *SchemaSet) isManager(name string) bool {
	return s.enterprise != nil && strings.EqualFold(name, "manager")
}

// qualified takes over a member with a URN as key: a container of the core schema, an extension, one attribute of either, or
// something unknown that is kept as it is.
func (d *decoder) qualified(key string, value any, depth int) error {
	found, rest := d.set.split(key)
	object, isObject := value.(map[string]any)
	switch {
	case found != nil && rest == "" && isEmpty(value):
		if found != d.set.core {
			delete(d.out.Attributes, found.ID)
		}
		return nil
	case found != nil && rest == "" && !isObject:
		return expected("an object", value)
	case found != nil && rest == "" && found == d.set.core:
		return d.object(object, key, depth+1)
	case found != nil && rest == "":
		if key != found.ID {
			d.out.remember(found.ID, key)
		}
		return d.extension(found, object)
	case found != nil && found.owns(rest, isObject):
		if t, err := d.set.within(found, rest); err == nil {
			if t.attribute.isActive() {
				return d.active(t.attribute, value, depth)
			}
			return (&patcher{set: d.set, next: &d.out}).implicit(opReplace, t, value)
		}
	}
	value, err := clean(value)
	if err == nil && value != nil {
		d.out.Attributes[key] = value
	}
	return err
}

// extension takes over the attributes of a known extension.
func (d *decoder) extension(found *schema, object map[string]any) error {
	held, _ := d.out.Attributes[found.ID].(map[string]any)
	if held == nil {
		held = make(map[string]any, len(object))
	}
	for _, key := range found.ordered(object) {
		name, a := key, found.attribute(key)
		if a != nil {
			name = a.Name
			if a.Mutability == ReadOnly {
				continue
			}
		}
		if err := put(held, name, a, object[key]); err != nil {
			return err
		}
	}
	if len(held) > 0 {
		d.out.Attributes[found.ID] = held
	} else {
		delete(d.out.Attributes, found.ID)
	}
	return nil
}

// ordered lists an object's keys: those in the schema's spelling first, others after, so that they win.
func (s *schema) ordered(object map[string]any) []string {
	keys := make([]string, 0, len(object))
	for key := range object {
		keys = append(keys, key)
	}
	misspelled := func(key string) int {
		if a := s.attribute(key); a != nil && a.Name != key {
			return 1
		}
		return 0
	}
	slices.SortFunc(keys, func(a, b string) int {
		if order := misspelled(a) - misspelled(b); order != 0 {
			return order
		}
		return strings.Compare(a, b)
	})
	return keys
}

// owns reports whether the rest of a qualified name is an attribute of the schema, and not the tail of a longer, unknown URN
// that is the key of an object.
func (s *schema) owns(rest string, isObject bool) bool {
	name, _, _ := strings.Cut(rest, ".")
	return !isObject || s.attribute(name) != nil
}

// extension finds a known extension by its URN in any letter case.
func (s *SchemaSet) extension(urn string) *schema {
	for _, e := range s.extensions {
		if strings.EqualFold(e.ID, urn) {
			return e
		}
	}
	return nil
}

// split finds the known schema with a URN that the name is, or begins with: "URN:attribute", and "URN.attribute" as Entra
// once sent it. The longest URN wins. rest is empty for the bare URN.
func (s *SchemaSet) split(name string) (found *schema, rest string) {
	length := 0
	try := func(urn string, candidate *schema) {
		if len(urn) <= length || len(name) < len(urn) || !strings.EqualFold(name[:len(urn)], urn) {
			return
		}
		switch {
		case len(name) == len(urn):
			found, rest, length = candidate, "", len(urn)
		case len(name) > len(urn)+1 && (name[len(urn)] == ':' || name[len(urn)] == '.'):
			found, rest, length = candidate, name[len(urn)+1:], len(urn)
		}
	}
	for _, urn := range s.coreURNs {
		try(urn, s.core)
	}
	for _, e := range s.extensions {
		try(e.ID, e)
	}
	return found, rest
}

// isCoreContainer reports whether a key is one of the spellings of the core schema's URN.
func (s *SchemaSet) isCoreContainer(key string) bool {
	for _, urn := range s.coreURNs {
		if len(key) == len(urn) && strings.EqualFold(key, urn) {
			return true
		}
	}
	return false
}

// isEmpty reports whether a value means absent.
func isEmpty(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case string:
		return v == ""
	case []any:
		return len(v) == 0
	default:
		return false
	}
}
