package protocol

import (
	"io"
	"iter"
	"strings"
)

// renderChunk is how many bytes RenderGroup collects before it writes them.
const renderChunk = 32 << 10

// Includes reports whether the projection returns something of a core attribute that is returned by default, such as members or
// groups. Ask before loading what costs much.
func (p Projection) Includes(attribute string) bool {
	excluded := selectCore(p.exclude, attribute)
	return !excluded.whole && (len(p.include) == 0 || !selectCore(p.include, attribute).none())
}

// RenderGroup writes the group as JSON, its members one by one: a group of 100,000 is never in memory as a whole. members may be
// nil, for none; it is not visited where the projection leaves members out. A member without Ref gets one beside the group's
// own location. The error is the writer's.
func (s *SchemaSet) RenderGroup(w io.Writer, r Resource, m Meta, members iter.Seq[Member], p Projection) error {
	buffer := appendObject(make([]byte, 0, renderChunk+1024), s.complete(r, m, p), topLevelOrder)
	shown := p.memberFields()
	if members == nil || !shown.any() {
		_, err := w.Write(buffer)
		return err
	}
	users := besideLocation(m.Location, "/Groups/", "/Users/")
	buffer = append(buffer[:len(buffer)-1], `,"members":[`...)
	first := true
	for member := range members {
		if !first {
			buffer = append(buffer, ',')
		}
		first = false
		if buffer = shown.append(buffer, member, users); len(buffer) < renderChunk {
			continue
		}
		if _, err := w.Write(buffer); err != nil {
			return err
		}
		buffer = buffer[:0]
	}
	_, err := w.Write(append(buffer, "]}"...))
	return err
}

// besideLocation makes the beginning of another endpoint's locations from one resource's; empty where there is no location.
func besideLocation(location, own, other string) string {
	if cut := strings.LastIndex(location, own); cut >= 0 {
		return location[:cut] + other
	}
	return ""
}

// memberFields are the sub-attributes of members that an answer shows.
type memberFields struct{ value, ref, kind, display bool }

func (f memberFields) any() bool { return f.value || f.ref || f.kind || f.display }

func (p Projection) memberFields() memberFields {
	if !p.Includes("members") {
		return memberFields{}
	}
	included, excluded := selectCore(p.include, "members"), selectCore(p.exclude, "members")
	shows := func(name string) bool {
		return (len(p.include) == 0 || included.whole || containsFold(included.subs, name)) && !containsFold(excluded.subs, name)
	}
	return memberFields{value: shows("value"), ref: shows("$ref"), kind: shows("type"), display: shows("display")}
}

func (f memberFields) append(dst []byte, m Member, users string) []byte {
	dst = append(dst, '{')
	start := len(dst)
	field := func(name string) {
		if len(dst) > start {
			dst = append(dst, ',')
		}
		dst = append(append(dst, name...), ':')
	}
	if f.value {
		field(`"value"`)
		dst = appendString(dst, m.ID)
	}
	switch {
	case !f.ref:
	case m.Ref != "":
		field(`"$ref"`)
		dst = appendString(dst, m.Ref)
	case users != "":
		field(`"$ref"`)
		dst = appendString(dst, users)
		joint := len(dst) - 1 // the closing quote: the id's opening one goes, too
		dst = appendString(dst[:joint], m.ID)
		dst = append(dst[:joint], dst[joint+1:]...)
	}
	if f.display && m.Display != "" {
		field(`"display"`)
		dst = appendString(dst, m.Display)
	}
	if f.kind {
		field(`"type"`)
		dst = append(dst, `"`+memberTypeUser+`"`...)
	}
	return append(dst, '}')
}

// GroupReference is one of the groups that a user is in.
type GroupReference struct {
	ID      string
	Display string // the group's displayName
	Ref     string // $ref; empty: beside the user's own location
}

// groupList is the value of a user's attribute groups.
func groupList(m Meta) []any {
	groups := make([]any, 0, len(m.Groups))
	endpoint := besideLocation(m.Location, "/Users/", "/Groups/")
	for _, group := range m.Groups {
		element := map[string]any{"value": group.ID, "type": "direct"}
		switch {
		case group.Ref != "":
			element["$ref"] = group.Ref
		case endpoint != "":
			element["$ref"] = endpoint + group.ID
		}
		if group.Display != "" {
			element["display"] = group.Display
		}
		groups = append(groups, element)
	}
	return groups
}
