package directory

import (
	"reflect"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// attribute connects one core attribute of RFC 7643 with its field in UserSpec.
type attribute struct {
	name string
	// set writes what of the JSON value fits into the field, or clears it where the value is nil. It reports whether
	// get gives the very value back.
	set func(*v1alpha1.UserSpec, any) bool
	// get returns the field as a JSON value, nil where it is empty.
	get func(*v1alpha1.UserSpec) any
}

// userAttributes are the core attributes with a field of their own, active apart.
var userAttributes = []attribute{
	text("userName", func(s *v1alpha1.UserSpec) *string { return &s.UserName }),
	text("externalId", func(s *v1alpha1.UserSpec) *string { return &s.ExternalID }),
	text("displayName", func(s *v1alpha1.UserSpec) *string { return &s.DisplayName }),
	text("nickName", func(s *v1alpha1.UserSpec) *string { return &s.NickName }),
	text("profileUrl", func(s *v1alpha1.UserSpec) *string { return &s.ProfileURL }),
	text("title", func(s *v1alpha1.UserSpec) *string { return &s.Title }),
	text("userType", func(s *v1alpha1.UserSpec) *string { return &s.UserType }),
	text("preferredLanguage", func(s *v1alpha1.UserSpec) *string { return &s.PreferredLanguage }),
	text("locale", func(s *v1alpha1.UserSpec) *string { return &s.Locale }),
	text("timezone", func(s *v1alpha1.UserSpec) *string { return &s.Timezone }),
	single("name", nameShape, func(s *v1alpha1.UserSpec) **v1alpha1.Name { return &s.Name }),
	plural("emails", valueShape, func(s *v1alpha1.UserSpec) *[]v1alpha1.MultiValue { return &s.Emails }),
	plural("phoneNumbers", valueShape, func(s *v1alpha1.UserSpec) *[]v1alpha1.MultiValue { return &s.PhoneNumbers }),
	plural("ims", valueShape, func(s *v1alpha1.UserSpec) *[]v1alpha1.MultiValue { return &s.IMs }),
	plural("photos", valueShape, func(s *v1alpha1.UserSpec) *[]v1alpha1.MultiValue { return &s.Photos }),
	plural("addresses", addressShape, func(s *v1alpha1.UserSpec) *[]v1alpha1.Address { return &s.Addresses }),
	plural("entitlements", valueShape, func(s *v1alpha1.UserSpec) *[]v1alpha1.MultiValue { return &s.Entitlements }),
	plural("roles", valueShape, func(s *v1alpha1.UserSpec) *[]v1alpha1.MultiValue { return &s.Roles }),
	plural("x509Certificates", valueShape, func(s *v1alpha1.UserSpec) *[]v1alpha1.MultiValue { return &s.X509Certificates }),
}

// enterprise is the extension's object as a whole.
var enterprise = single("", enterpriseShape, func(s *v1alpha1.UserSpec) **v1alpha1.EnterpriseUser { return &s.Enterprise })

// shape describes a struct that stands for a complex value.
type shape[T any] struct {
	texts   []textField[T]
	primary func(*T) *bool              // nil: no such sub-attribute
	manager func(*T) **v1alpha1.Manager // nil: no such sub-attribute
}

type textField[T any] struct {
	name string
	of   func(*T) *string
}

var nameShape = shape[v1alpha1.Name]{texts: []textField[v1alpha1.Name]{
	{"formatted", func(n *v1alpha1.Name) *string { return &n.Formatted }},
	{"familyName", func(n *v1alpha1.Name) *string { return &n.FamilyName }},
	{"givenName", func(n *v1alpha1.Name) *string { return &n.GivenName }},
	{"middleName", func(n *v1alpha1.Name) *string { return &n.MiddleName }},
	{"honorificPrefix", func(n *v1alpha1.Name) *string { return &n.HonorificPrefix }},
	{"honorificSuffix", func(n *v1alpha1.Name) *string { return &n.HonorificSuffix }},
}}

var valueShape = shape[v1alpha1.MultiValue]{
	texts: []textField[v1alpha1.MultiValue]{
		{"value", func(v *v1alpha1.MultiValue) *string { return &v.Value }},
		{"display", func(v *v1alpha1.MultiValue) *string { return &v.Display }},
		{"type", func(v *v1alpha1.MultiValue) *string { return &v.Type }},
	},
	primary: func(v *v1alpha1.MultiValue) *bool { return &v.Primary },
}

var addressShape = shape[v1alpha1.Address]{
	texts: []textField[v1alpha1.Address]{
		{"formatted", func(a *v1alpha1.Address) *string { return &a.Formatted }},
		{"streetAddress", func(a *v1alpha1.Address) *string { return &a.StreetAddress }},
		{"locality", func(a *v1alpha1.Address) *string { return &a.Locality }},
		{"region", func(a *v1alpha1.Address) *string { return &a.Region }},
		{"postalCode", func(a *v1alpha1.Address) *string { return &a.PostalCode }},
		{"country", func(a *v1alpha1.Address) *string { return &a.Country }},
		{"type", func(a *v1alpha1.Address) *string { return &a.Type }},
	},
	primary: func(a *v1alpha1.Address) *bool { return &a.Primary },
}

var enterpriseShape = shape[v1alpha1.EnterpriseUser]{
	texts: []textField[v1alpha1.EnterpriseUser]{
		{"employeeNumber", func(e *v1alpha1.EnterpriseUser) *string { return &e.EmployeeNumber }},
		{"costCenter", func(e *v1alpha1.EnterpriseUser) *string { return &e.CostCenter }},
		{"organization", func(e *v1alpha1.EnterpriseUser) *string { return &e.Organization }},
		{"division", func(e *v1alpha1.EnterpriseUser) *string { return &e.Division }},
		{"department", func(e *v1alpha1.EnterpriseUser) *string { return &e.Department }},
	},
	manager: func(e *v1alpha1.EnterpriseUser) **v1alpha1.Manager { return &e.Manager },
}

var managerShape = shape[v1alpha1.Manager]{texts: []textField[v1alpha1.Manager]{
	{"value", func(m *v1alpha1.Manager) *string { return &m.Value }},
	{"$ref", func(m *v1alpha1.Manager) *string { return &m.Ref }},
	{"displayName", func(m *v1alpha1.Manager) *string { return &m.DisplayName }},
}}

// fill writes what of a JSON value fits, and reports whether all of it does. false for primary does not: the struct
// cannot tell it from an absent one.
func (s shape[T]) fill(into *T, value any) bool {
	object, ok := value.(map[string]any)
	if !ok {
		return false
	}
	taken := 0
	for _, field := range s.texts {
		if text, ok := object[field.name].(string); ok && text != "" {
			*field.of(into) = text
			taken++
		}
	}
	if s.primary != nil {
		if primary, _ := object["primary"].(bool); primary {
			*s.primary(into) = true
			taken++
		}
	}
	if s.manager != nil && object["manager"] != nil {
		var manager v1alpha1.Manager
		if managerShape.fill(&manager, object["manager"]) {
			taken++
		}
		if manager != (v1alpha1.Manager{}) {
			*s.manager(into) = &manager
		}
	}
	return taken == len(object) && taken > 0
}

func (s shape[T]) object(from *T) map[string]any {
	object := make(map[string]any, len(s.texts)+1)
	for _, field := range s.texts {
		if text := *field.of(from); text != "" {
			object[field.name] = text
		}
	}
	if s.primary != nil && *s.primary(from) {
		object["primary"] = true
	}
	if s.manager != nil {
		if manager := *s.manager(from); manager != nil {
			object["manager"] = managerShape.object(manager)
		}
	}
	return object
}

func text(name string, field func(*v1alpha1.UserSpec) *string) attribute {
	return attribute{
		name: name,
		set: func(spec *v1alpha1.UserSpec, value any) bool {
			text, ok := value.(string)
			*field(spec) = text
			return ok && text != ""
		},
		get: func(spec *v1alpha1.UserSpec) any {
			if text := *field(spec); text != "" {
				return text
			}
			return nil
		},
	}
}

func single[T any](name string, s shape[T], field func(*v1alpha1.UserSpec) **T) attribute {
	return attribute{
		name: name,
		set: func(spec *v1alpha1.UserSpec, value any) bool {
			*field(spec) = nil
			filled := new(T)
			fits := s.fill(filled, value)
			if !reflect.ValueOf(filled).Elem().IsZero() {
				*field(spec) = filled
			}
			return fits
		},
		get: func(spec *v1alpha1.UserSpec) any {
			held := *field(spec)
			if held == nil {
				return nil
			}
			if object := s.object(held); len(object) > 0 {
				return object
			}
			return nil
		},
	}
}

func plural[T any](name string, s shape[T], field func(*v1alpha1.UserSpec) *[]T) attribute {
	return attribute{
		name: name,
		set: func(spec *v1alpha1.UserSpec, value any) bool {
			list, _ := value.([]any)
			held, fits := make([]T, 0, len(list)), len(list) > 0
			for _, element := range list {
				var filled T
				fits = s.fill(&filled, element) && fits
				if !reflect.ValueOf(&filled).Elem().IsZero() {
					held = append(held, filled)
				}
			}
			if *field(spec) = held; len(held) == 0 {
				*field(spec) = nil
			}
			return fits
		},
		get: func(spec *v1alpha1.UserSpec) any {
			held := *field(spec)
			if len(held) == 0 {
				return nil
			}
			list := make([]any, len(held))
			for i := range held {
				list[i] = s.object(&held[i])
			}
			return list
		},
	}
}
