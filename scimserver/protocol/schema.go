package protocol

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/scim-operator/scim-operator/internal/names"
)

// Schema URNs of RFC 7643.
const (
	UserSchema           = "urn:ietf:params:scim:schemas:core:2.0:User"
	GroupSchema          = "urn:ietf:params:scim:schemas:core:2.0:Group"
	EnterpriseUserSchema = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"

	coreSchemaPrefix = "urn:ietf:params:scim:schemas:core:2.0"
)

// Attribute types (RFC 7643 section 2.3).
const (
	TypeString    = "string"
	TypeBoolean   = "boolean"
	TypeDecimal   = "decimal"
	TypeInteger   = "integer"
	TypeDateTime  = "dateTime"
	TypeReference = "reference"
	TypeComplex   = "complex"
	TypeBinary    = "binary"
)

// Values of mutability, returned and uniqueness (RFC 7643 section 7).
const (
	ReadWrite = "readWrite"
	ReadOnly  = "readOnly"
	Immutable = "immutable"

	ReturnedAlways  = "always"
	ReturnedDefault = "default"
	ReturnedRequest = "request"
	ReturnedNever   = "never"

	UniquenessNone   = "none"
	UniquenessServer = "server"
	UniquenessGlobal = "global"
)

// Attribute describes one attribute (RFC 7643 section 7).
type Attribute struct {
	Name                             string
	Type                             string // empty: string
	MultiValued, Required, CaseExact bool
	Mutability, Returned, Uniqueness string // empty: readWrite, default, none
	Description                      string
	CanonicalValues, ReferenceTypes  []string
	SubAttributes                    []Attribute
}

// Schema describes the attributes under one schema URN.
type Schema struct {
	ID, Name, Description string
	Attributes            []Attribute
}

// CustomAttribute is an attribute that an App declares beyond RFC 7643. Schema is a URN: one of the core schema's spellings
// (the URN of User in any letter case, the same without ":User", or empty) makes it a core-level attribute; any other an extension's.
// Naming an attribute of RFC 7643 with the same type tightens it: required, canonicalValues and description are taken over.
type CustomAttribute struct {
	Attribute
	Schema string
}

// attribute is an Attribute prepared for look-ups.
type attribute struct {
	Attribute
	subs map[string]*attribute // by canonical and by lower-case name
	// declared by the App: required and canonicalValues are enforced, where those of RFC 7643 are only advice.
	declared bool
	// standard says that RFC 7643 defines it in the core schema: its place is the top level, whatever container it came in.
	standard bool
}

// sub finds a sub-attribute in any letter case; nil where there is none, also on a nil receiver.
func (a *attribute) sub(name string) *attribute {
	if a == nil {
		return nil
	}
	return lookup(a.subs, name)
}

// plainSub is the sub-attribute that a plain value stands for where an object was expected.
func (a *attribute) plainSub() *attribute {
	if value := a.subs["value"]; value != nil {
		return value
	}
	return a.subs["formatted"]
}

type schema struct {
	Schema
	attributes map[string]*attribute // by canonical and by lower-case name
	// hides: some attribute is not returned by default.
	hides bool
}

// attribute finds an attribute in any letter case; nil where there is none, also on a nil receiver.
func (s *schema) attribute(name string) *attribute {
	if s == nil {
		return nil
	}
	return lookup(s.attributes, name)
}

func lookup(attributes map[string]*attribute, name string) *attribute {
	if found := attributes[name]; found != nil {
		return found
	}
	return attributes[strings.ToLower(name)]
}

// SchemaSet is what one App knows about one resource type: its core schema and its extensions. It is immutable, and safe for
// concurrent use.
type SchemaSet struct {
	resourceType, endpoint, description string
	// naming is the attribute that no resource can be without: userName or displayName.
	naming string

	core       *schema
	extensions []*schema // in the order of /Schemas
	enterprise *schema   // nil where the resource type has none
	coreURNs   []string  // every URN that stands for the core schema, longest first
}

// commonAttributes are those of every resource (RFC 7643 section 3.1). They belong to no schema document.
func commonAttributes() []Attribute {
	readOnly := func(name, kind string, exact bool) Attribute {
		return Attribute{Name: name, Type: kind, CaseExact: exact, Mutability: ReadOnly}
	}
	schemas := readOnly("schemas", TypeReference, false)
	schemas.MultiValued, schemas.Returned = true, ReturnedAlways
	id := readOnly("id", TypeString, true)
	id.Returned, id.Uniqueness = ReturnedAlways, UniquenessServer
	meta := readOnly("meta", TypeComplex, false)
	meta.SubAttributes = []Attribute{
		readOnly("resourceType", TypeString, true),
		readOnly("created", TypeDateTime, false),
		readOnly("lastModified", TypeDateTime, false),
		readOnly("location", TypeReference, true),
		readOnly("version", TypeString, true),
	}
	return []Attribute{schemas, id, {Name: "externalId", CaseExact: true}, meta}
}

// NewUserSchemas builds the schemas of the User resource: RFC 7643 core and enterprise User, and the App's own attributes.
// It refuses attributes that clash with the RFC's or with each other.
func NewUserSchemas(custom []CustomAttribute) (*SchemaSet, error) {
	documents := []Schema{userSchema(), enterpriseUserSchema()}
	declared := map[string]bool{}
	for _, c := range custom {
		if err := addCustom(&documents, declared, c); err != nil {
			return nil, fmt.Errorf("attribute %q: %w", c.Name, err)
		}
	}
	set := &SchemaSet{
		resourceType: "User", endpoint: "/Users", description: "User Account", naming: "userName",
		core:     newCoreSchema(documents[0], userSchema().Attributes, declared),
		coreURNs: []string{UserSchema, coreSchemaPrefix},
	}
	for _, document := range documents[1:] {
		set.extensions = append(set.extensions, newSchema(document, declared))
	}
	set.enterprise = set.extensions[0]
	return set, nil
}

// newCoreSchema is newSchema with the attributes that every resource has. standard are those that RFC 7643 gives the resource.
func newCoreSchema(document Schema, standard []Attribute, declared map[string]bool) *schema {
	s := newSchema(document, declared)
	for _, common := range commonAttributes() {
		index(s.attributes, newAttribute(common))
	}
	for _, a := range slices.Concat(standard, commonAttributes()) {
		s.attributes[a.Name].standard = true
	}
	return s
}

func newSchema(document Schema, declared map[string]bool) *schema {
	s := &schema{Schema: document, attributes: map[string]*attribute{}}
	for i := range document.Attributes {
		document.Attributes[i] = withDefaults(document.Attributes[i])
		prepared := newAttribute(document.Attributes[i])
		prepared.declared = declared[customKey(document.ID, prepared.Name)]
		index(s.attributes, prepared)
		s.hides = s.hides || prepared.Returned == ReturnedNever || prepared.Returned == ReturnedRequest
	}
	return s
}

func newAttribute(a Attribute) *attribute {
	prepared := &attribute{Attribute: withDefaults(a), subs: map[string]*attribute{}}
	for _, sub := range prepared.SubAttributes {
		index(prepared.subs, newAttribute(sub))
	}
	return prepared
}

func index(attributes map[string]*attribute, a *attribute) {
	attributes[a.Name] = a
	attributes[strings.ToLower(a.Name)] = a
}

func withDefaults(a Attribute) Attribute {
	for _, field := range []struct {
		value    *string
		fallback string
	}{{&a.Type, TypeString}, {&a.Mutability, ReadWrite}, {&a.Returned, ReturnedDefault}, {&a.Uniqueness, UniquenessNone}} {
		if *field.value == "" {
			*field.value = field.fallback
		}
	}
	a.SubAttributes = slices.Clone(a.SubAttributes)
	for i := range a.SubAttributes {
		a.SubAttributes[i] = withDefaults(a.SubAttributes[i])
	}
	return a
}

func customKey(schemaID, name string) string {
	return strings.ToLower(schemaID) + " " + strings.ToLower(name)
}

// addCustom puts one custom attribute into the document of its schema. A new schema gets a new document.
func addCustom(documents *[]Schema, declared map[string]bool, c CustomAttribute) error {
	added := withDefaults(c.Attribute)
	if err := checkAttribute(added, true); err != nil {
		return err
	}
	document, err := customDocument(documents, c.Schema)
	if err != nil {
		return err
	}
	key := customKey(document.ID, added.Name)
	if declared[key] {
		return errors.New("declared twice in one schema")
	}
	declared[key] = true
	for i, existing := range document.Attributes {
		if !strings.EqualFold(existing.Name, added.Name) {
			continue
		}
		existing = withDefaults(existing)
		if existing.Mutability == ReadOnly {
			return errors.New("the name is reserved for a read-only attribute of RFC 7643")
		}
		if existing.Type != added.Type || existing.MultiValued != added.MultiValued {
			return fmt.Errorf("RFC 7643 defines it as %s, multiValued %v", existing.Type, existing.MultiValued)
		}
		existing.Required = existing.Required || added.Required
		existing.CanonicalValues = added.CanonicalValues
		if added.Description != "" {
			existing.Description = added.Description
		}
		document.Attributes[i] = existing
		return nil
	}
	document.Attributes = append(document.Attributes, added)
	return nil
}

func customDocument(documents *[]Schema, urn string) (*Schema, error) {
	if urn == "" || strings.EqualFold(urn, UserSchema) || strings.EqualFold(urn, coreSchemaPrefix) {
		return &(*documents)[0], nil
	}
	if !names.IsSchemaURN(urn) {
		return nil, fmt.Errorf("schema %q is not a URN", urn)
	}
	for i := range *documents {
		if strings.EqualFold((*documents)[i].ID, urn) {
			return &(*documents)[i], nil
		}
	}
	name := urn[strings.LastIndexByte(urn, ':')+1:]
	*documents = append(*documents, Schema{ID: urn, Name: name, Description: "Custom attributes"})
	return &(*documents)[len(*documents)-1], nil
}

func checkAttribute(a Attribute, top bool) error {
	if !validName(a.Name) {
		return errors.New("a name has letters, digits, '-', '_' and begins with a letter")
	}
	switch {
	case strings.EqualFold(a.Name, "password"):
		return errors.New("passwords are never stored")
	case top && names.IsReservedAttribute(a.Name):
		return errors.New("the name is reserved")
	}
	if !slices.Contains([]string{TypeString, TypeBoolean, TypeDecimal, TypeInteger, TypeDateTime, TypeReference, TypeComplex, TypeBinary}, a.Type) {
		return fmt.Errorf("unknown type %q", a.Type)
	}
	if !slices.Contains([]string{ReadWrite, ReadOnly, Immutable}, a.Mutability) {
		return fmt.Errorf("mutability %q is not supported", a.Mutability)
	}
	if !slices.Contains([]string{ReturnedAlways, ReturnedDefault, ReturnedRequest, ReturnedNever}, a.Returned) {
		return fmt.Errorf("unknown returned %q", a.Returned)
	}
	if (a.Type == TypeComplex) != (len(a.SubAttributes) > 0) {
		return errors.New("subAttributes belong to type complex, and to no other")
	}
	for _, sub := range a.SubAttributes {
		if sub.Type == TypeComplex {
			return fmt.Errorf("sub-attribute %q: must not be complex itself", sub.Name)
		}
		if err := checkAttribute(sub, false); err != nil {
			return fmt.Errorf("sub-attribute %q: %w", sub.Name, err)
		}
	}
	return nil
}

// validName reports whether the name follows ATTRNAME of RFC 7643 section 2.1, or is one like "$ref".
func validName(name string) bool { return names.IsAttribute(strings.TrimPrefix(name, "$")) }
