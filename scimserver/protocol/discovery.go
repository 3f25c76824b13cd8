package protocol

import (
	"strings"
	"time"
)

// Schema URNs of the discovery documents (RFC 7643 section 8.7.2).
const (
	ServiceProviderConfigSchema = "urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig"
	ResourceTypeSchema          = "urn:ietf:params:scim:schemas:core:2.0:ResourceType"
	SchemaSchema                = "urn:ietf:params:scim:schemas:core:2.0:Schema"
)

// AuthenticationScheme is one way to authenticate (RFC 7643 section 5).
type AuthenticationScheme struct {
	Type        string // oauth, oauth2, oauthbearertoken, httpbasic or httpdigest
	Name        string
	Description string
	SpecURI     string
	Primary     bool
}

// ServiceProviderConfigOptions says what the server does, so that it advertises nothing that it does not.
type ServiceProviderConfigOptions struct {
	BaseURL          string // without a trailing slash
	DocumentationURI string // empty: left out
	Patch            bool
	// BulkMaxOperations and BulkMaxPayloadSize (bytes) are 0 where bulk is not supported.
	BulkMaxOperations, BulkMaxPayloadSize int
	FilterMaxResults                      int // 0: filters are not supported
	Sort, ETag                            bool
	Pagination                            *PaginationOptions // nil: left out
	AuthenticationSchemes                 []AuthenticationScheme
}

// PaginationOptions says how lists are paged (RFC 9865 section 4). Zero values of the last four are left out.
type PaginationOptions struct {
	Cursor, Index bool
	// DefaultMethod is PaginationIndex or PaginationCursor: what a request without startIndex and cursor gets.
	DefaultMethod                string
	DefaultPageSize, MaxPageSize int
	// CursorTimeout is how long a cursor is good at least, given in whole seconds, rounded down.
	CursorTimeout time.Duration
}

// Values of PaginationOptions.DefaultMethod.
const (
	PaginationIndex  = "index"
	PaginationCursor = "cursor"
)

func (o PaginationOptions) document() map[string]any {
	document := map[string]any{"cursor": o.Cursor, "index": o.Index}
	if o.DefaultMethod != "" {
		document["defaultPaginationMethod"] = o.DefaultMethod
	}
	for name, value := range map[string]int{
		"defaultPageSize": o.DefaultPageSize, "maxPageSize": o.MaxPageSize, "cursorTimeout": int(o.CursorTimeout.Seconds()),
	} {
		if value > 0 {
			document[name] = value
		}
	}
	return document
}

// ServiceProviderConfigDocument is the answer of /ServiceProviderConfig (RFC 7643 section 5). changePassword is never supported.
func ServiceProviderConfigDocument(o ServiceProviderConfigOptions) map[string]any {
	supported := func(yes bool) map[string]any { return map[string]any{"supported": yes} }
	schemes := make([]any, 0, len(o.AuthenticationSchemes))
	for _, scheme := range o.AuthenticationSchemes {
		document := map[string]any{"type": scheme.Type, "name": scheme.Name, "description": scheme.Description}
		if scheme.SpecURI != "" {
			document["specUri"] = scheme.SpecURI
		}
		if scheme.Primary {
			document["primary"] = true
		}
		schemes = append(schemes, document)
	}
	document := map[string]any{
		"schemas": []any{ServiceProviderConfigSchema},
		"patch":   supported(o.Patch),
		"bulk": map[string]any{
			"supported":     o.BulkMaxOperations > 0,
			"maxOperations": o.BulkMaxOperations, "maxPayloadSize": o.BulkMaxPayloadSize,
		},
		"filter":                map[string]any{"supported": o.FilterMaxResults > 0, "maxResults": o.FilterMaxResults},
		"changePassword":        supported(false),
		"sort":                  supported(o.Sort),
		"etag":                  supported(o.ETag),
		"authenticationSchemes": schemes,
		"meta":                  documentMeta("ServiceProviderConfig", o.BaseURL+"/ServiceProviderConfig"),
	}
	if o.Pagination != nil {
		document["pagination"] = o.Pagination.document()
	}
	if o.DocumentationURI != "" {
		document["documentationUri"] = o.DocumentationURI
	}
	return document
}

func documentMeta(resourceType, location string) map[string]any {
	return map[string]any{"resourceType": resourceType, "location": location}
}

// SchemaDocuments are the resources of /Schemas (RFC 7643 section 7): the core schema, then the extensions, with the App's own
// attributes. baseURL has no trailing slash.
func (s *SchemaSet) SchemaDocuments(baseURL string) []map[string]any {
	documents := []map[string]any{s.core.document(baseURL)}
	for _, e := range s.extensions {
		documents = append(documents, e.document(baseURL))
	}
	return documents
}

func (s *schema) document(baseURL string) map[string]any {
	return map[string]any{
		"schemas":     []any{SchemaSchema},
		"id":          s.ID,
		"name":        s.Name,
		"description": s.Description,
		"attributes":  attributeDocuments(s.Attributes),
		"meta":        documentMeta("Schema", baseURL+"/Schemas/"+s.ID),
	}
}

func attributeDocuments(attributes []Attribute) []any {
	documents := make([]any, 0, len(attributes))
	for _, a := range attributes {
		document := map[string]any{
			"name": a.Name, "type": a.Type, "multiValued": a.MultiValued, "required": a.Required, "caseExact": a.CaseExact,
			"mutability": a.Mutability, "returned": a.Returned, "uniqueness": a.Uniqueness, "description": a.Description,
		}
		if a.Description == "" {
			document["description"] = a.Name
		}
		if len(a.CanonicalValues) > 0 {
			document["canonicalValues"] = stringValues(a.CanonicalValues)
		}
		if len(a.ReferenceTypes) > 0 {
			document["referenceTypes"] = stringValues(a.ReferenceTypes)
		}
		if len(a.SubAttributes) > 0 {
			document["subAttributes"] = attributeDocuments(a.SubAttributes)
		}
		documents = append(documents, document)
	}
	return documents
}

func stringValues(list []string) []any {
	values := make([]any, len(list))
	for i, s := range list {
		values[i] = s
	}
	return values
}

// ResourceTypeDocuments are the resources of /ResourceTypes (RFC 7643 section 6). baseURL has no trailing slash.
func ResourceTypeDocuments(baseURL string, sets ...*SchemaSet) []map[string]any {
	documents := make([]map[string]any, 0, len(sets))
	for _, s := range sets {
		extensions := make([]any, 0, len(s.extensions))
		for _, e := range s.extensions {
			extensions = append(extensions, map[string]any{"schema": e.ID, "required": false})
		}
		documents = append(documents, map[string]any{
			"schemas":          []any{ResourceTypeSchema},
			"id":               s.resourceType,
			"name":             s.resourceType,
			"description":      s.description,
			"endpoint":         "/" + strings.TrimPrefix(s.endpoint, "/"),
			"schema":           s.core.ID,
			"schemaExtensions": extensions,
			"meta":             documentMeta("ResourceType", baseURL+"/ResourceTypes/"+s.resourceType),
		})
	}
	return documents
}
