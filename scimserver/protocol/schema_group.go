package protocol

// Schema URNs by which Okta's entitlement management recognises resource types that it can list and assign.
const (
	RoleSchema        = "urn:okta:scim:schemas:core:1.0:Role"
	EntitlementSchema = "urn:okta:scim:schemas:core:1.0:Entitlement"
)

// maxGovernanceDescription is how much of a description Okta takes, in characters.
const maxGovernanceDescription = 1000

// NewGroupSchemas builds the schema of the Group resource (RFC 7643 section 4.2). Members are users: groups in groups are
// not supported. displayName is unique and compared without regard to case; externalId and the members' ids are compared
// exactly. It returns no error.
func NewGroupSchemas() (*SchemaSet, error) {
	return &SchemaSet{
		resourceType: "Group", endpoint: "/Groups", description: "Group", naming: "displayName",
		core:     newCoreSchema(groupSchema(), groupSchema().Attributes, nil),
		coreURNs: []string{GroupSchema, coreSchemaPrefix},
	}, nil
}

func groupSchema() Schema {
	immutable := func(a Attribute) Attribute {
		a.Mutability = Immutable
		return a
	}
	value := immutable(text("value", "The member's id."))
	value.CaseExact = true // as id itself is
	reference := immutable(typed(TypeReference, "$ref", "URI of the member's User resource."))
	reference.ReferenceTypes = []string{"User"}
	kind := immutable(text("type", "The member's resource type."))
	kind.CanonicalValues = []string{"User"}
	display := text("display", "The member's userName.")
	display.Mutability = ReadOnly
	return Schema{
		ID: GroupSchema, Name: "Group", Description: "Group",
		Attributes: []Attribute{
			{
				Name: "displayName", Required: true, Uniqueness: UniquenessServer,
				Description: "The group's name. Compared without regard to case.",
			},
			{
				Name: "members", Type: TypeComplex, MultiValued: true, Description: "The users in the group.",
				SubAttributes: []Attribute{value, reference, kind, display},
			},
		},
	}
}

// NewRoleSchemas builds the schema of Okta's Role resource type, at /Roles. It is read-only.
func NewRoleSchemas() *SchemaSet { return newGovernanceSchemas("Role", "/Roles", RoleSchema) }

// NewEntitlementSchemas builds the schema of Okta's Entitlement resource type, at /Entitlements. It is read-only.
func NewEntitlementSchemas() *SchemaSet {
	return newGovernanceSchemas("Entitlement", "/Entitlements", EntitlementSchema)
}

func newGovernanceSchemas(resourceType, endpoint, urn string) *SchemaSet {
	readOnly := func(name, description string) Attribute {
		return Attribute{Name: name, Mutability: ReadOnly, Description: description}
	}
	document := Schema{
		ID: urn, Name: resourceType, Description: resourceType + " that a user can have",
		Attributes: []Attribute{
			readOnly("displayName", "The name to show."),
			readOnly("description", "What having it means."),
		},
	}
	if urn == EntitlementSchema {
		document.Attributes = append(document.Attributes, readOnly("type", "The resource type that lists it."))
	}
	return &SchemaSet{
		resourceType: resourceType, endpoint: endpoint, description: document.Description, naming: "displayName",
		core:     newCoreSchema(document, nil, nil),
		coreURNs: []string{urn},
	}
}

// GovernanceResource is one role or entitlement as Okta lists it; render it with the SchemaSet of its type. kind is the name of
// an entitlement's resource type, and empty for a role. A description is cut after the 1,000 characters that Okta takes.
func GovernanceResource(displayName, description, kind string) Resource {
	attributes := map[string]any{"displayName": displayName}
	characters := 0
	for at := range description {
		if characters++; characters > maxGovernanceDescription {
			description = description[:at]
			break
		}
	}
	if description != "" {
		attributes["description"] = description
	}
	if kind != "" {
		attributes["type"] = kind
	}
	return Resource{Attributes: attributes}
}
