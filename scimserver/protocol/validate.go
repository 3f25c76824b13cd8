package protocol

import (
	"slices"
	"strings"
)

// Validate checks what a POST must bring: userName (a group: displayName), every attribute that the App requires, only values
// that it allows, and types. Errors are invalidValue with the attribute's name.
//
// Do not use it for PUT and PATCH: a refused profile push makes Okta forget the user, and a later deactivation would never be
// sent. ValidateUpdate is for them.
func (s *SchemaSet) Validate(r Resource) error {
	if err := s.ValidateUpdate(r); err != nil {
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

// ValidateUpdate checks what every write must bring: a userName (a group: displayName) that is not blank, and types.
func (s *SchemaSet) ValidateUpdate(r Resource) error {
	if name, _ := r.Attributes[s.naming].(string); strings.TrimSpace(name) == "" {
		return InvalidValue("%s is required", s.naming)
	}
	if err := checkTypes(s.core, r.Attributes); err != nil {
		return err
	}
	for _, e := range s.extensions {
		attributes, _ := r.Attributes[e.ID].(map[string]any)
		if err := checkTypes(e, attributes); err != nil {
			return err
		}
	}
	return nil
}

func checkTypes(found *schema, attributes map[string]any) error {
	for name, value := range attributes {
		if a := found.attribute(name); a != nil && a.Mutability != ReadOnly {
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
			return s == allowed || !a.CaseExact && equalFold(s.(string), Fold(allowed))
		}) {
			return InvalidValue("%s is none of the values that it may have: %s", a.Name, strings.Join(a.CanonicalValues, ", "))
		}
	}
	return nil
}
