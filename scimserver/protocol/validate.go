package protocol

import (
	"reflect"
	"slices"
	"strings"
	"unicode"

	"github.com/scim-operator/scim-operator/internal/names"
)

// Validate checks what a POST must bring: userName (a group: displayName), every attribute that the App requires, only values
// that it allows, and types. Errors are invalidValue with the attribute's name.
//
// Do not use it for PUT and PATCH: a refused profile push makes Okta forget the user, and a later deactivation would never be
// sent. ValidateUpdate is for them.
func (s *SchemaSet) Validate(r Resource) error {
	if err := s.ValidateUpdate(Resource{}, r); err != nil {
		return err
	}
	if err := s.core.validate(r.Attributes); err != nil {
		return err
	}
	for _, e := range s.extensions {
		attributes, _ := r.Attributes[e.ID].(map[string]any)
		if err := e.validate(attributes); err != nil {
			return err
		}
	}
	return nil
}

// ValidateUpdate checks what every write must bring: a userName (a group: displayName) that is not blank, and types. A
// userName that differs from the current one must be one that people can read (RFC 7643 section 4.1.1, RFC 7644 section 5):
// no control or format character, no separator of lines, no blank around it. A stored userName may stay as it is, and so may values
// that are of another type than an App has declared since, so that their user can leave. A declared time may be any text; of a
// new user, Validate refuses one that is no time. The error is invalidValue.
func (s *SchemaSet) ValidateUpdate(current, r Resource) error {
	name, _ := r.Attributes[s.naming].(string)
	if strings.TrimSpace(name) == "" {
		return InvalidValue("%s is required", s.naming)
	}
	if s.naming == "userName" && name != current.Attributes[s.naming] {
		if err := checkUserName(name); err != nil {
			return err
		}
	}
	if err := checkTypes(s.core, current.Attributes, r.Attributes); err != nil {
		return err
	}
	for _, e := range s.extensions {
		before, _ := current.Attributes[e.ID].(map[string]any)
		attributes, _ := r.Attributes[e.ID].(map[string]any)
		if err := checkTypes(e, before, attributes); err != nil {
			return err
		}
	}
	return nil
}

// checkUserName refuses what makes two names look alike, or one name break lines and logs. The error names the character by its
// code point and place, and repeats no value.
func checkUserName(name string) error {
	if strings.TrimSpace(name) != name {
		return InvalidValue("userName begins or ends with a blank: send it without")
	}
	place := 0
	for _, c := range name {
		place++
		if !isPrintable(c) {
			return InvalidValue("userName: character %d is U+%04X: control, format, private and separator characters are not taken", place, c)
		}
	}
	return nil
}

// isPrintable reports whether a character may stand in a name: anything but control and format characters (bidirectional
// overrides and zero-width ones among them), private ones, unassigned halves of pairs, and separators other than the space.
func isPrintable(c rune) bool {
	return c == ' ' || !unicode.In(c, unicode.C, unicode.Z) && c != unicode.ReplacementChar
}

// checkTypes checks values that differ from the stored ones. An App may declare an attribute after users have it, and they must be
// able to leave.
func checkTypes(found *schema, before, attributes map[string]any) error {
	for name, value := range attributes {
		if had, found := before[name]; found && reflect.DeepEqual(had, value) {
			continue
		}
		if a := found.attribute(name); a != nil && a.Mutability != ReadOnly && !a.isDeclaredTime() {
			if _, err := coerce(a, copyValue(value)); err != nil {
				return invalid(within(name, err))
			}
		}
	}
	return nil
}

// validate enforces what the App declared.
func (s *schema) validate(attributes map[string]any) error {
	for i := range s.Attributes {
		a := s.attributes[s.Attributes[i].Name]
		if !a.declared {
			continue
		}
		value, ok := attributes[a.Name]
		if !ok {
			if a.Required && a.Mutability != ReadOnly {
				return InvalidValue("%s is required (schema %s)", a.Name, s.ID)
			}
			continue
		}
		if a.isDeclaredTime() {
			if _, err := coerce(a, copyValue(value)); err != nil {
				return invalid(within(a.Name, err))
			}
		}
		if err := a.checkCanonical(value); err != nil {
			return err
		}
	}
	return nil
}

func (a *attribute) checkCanonical(value any) error {
	if len(a.CanonicalValues) == 0 {
		return nil
	}
	values, ok := value.([]any)
	if !ok {
		values = []any{value}
	}
	for _, v := range values {
		if object, ok := v.(map[string]any); ok {
			v = object["value"]
		}
		s, err := coerceString(v)
		if err != nil || !slices.ContainsFunc(a.CanonicalValues, func(allowed string) bool {
			return s == allowed || !a.CaseExact && names.EqualFold(s.(string), names.Fold(allowed))
		}) {
			return InvalidValue("%s is none of the values that it may have: %s", a.Name, strings.Join(a.CanonicalValues, ", "))
		}
	}
	return nil
}
