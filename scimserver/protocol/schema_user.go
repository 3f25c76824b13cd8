package protocol

// The User schemas of RFC 7643 sections 4.1, 4.3 and 8.7.1, without password: it is dropped unread, so it is not advertised.

func text(name, description string) Attribute {
	return Attribute{Name: name, Description: description}
}

func typed(kind, name, description string) Attribute {
	return Attribute{Name: name, Type: kind, Description: description}
}

// plural is a multi-valued attribute with the sub-attributes of RFC 7643 section 2.4.
func plural(name, description string, value Attribute, types ...string) Attribute {
	kind := text("type", "A label for the value's function.")
	kind.CanonicalValues = types
	return Attribute{
		Name: name, Type: TypeComplex, MultiValued: true, Description: description,
		SubAttributes: []Attribute{
			value,
			text("display", "A human-readable name for display."),
			kind,
			typed(TypeBoolean, "primary", "Whether this is the preferred value. At most one is."),
		},
	}
}

func userSchema() Schema {
	userName := Attribute{
		Name: "userName", Required: true, Uniqueness: UniquenessServer,
		Description: "Unique identifier for the user, as the identity provider names them. Compared without regard to case.",
	}
	photo := typed(TypeReference, "value", "URL of a photo.")
	photo.ReferenceTypes = []string{"external"}
	profile := typed(TypeReference, "profileUrl", "URL of the user's online profile.")
	profile.ReferenceTypes = []string{"external"}
	certificate := typed(TypeBinary, "value", "A DER-encoded X.509 certificate in base64.")
	certificate.CaseExact = true
	addresses := plural("addresses", "Physical mailing addresses.", text("formatted", "The full address, formatted for display."),
		"work", "home", "other")
	addresses.SubAttributes = append(addresses.SubAttributes,
		text("streetAddress", "Street, house number, post office box."),
		text("locality", "City or locality."),
		text("region", "State or region."),
		text("postalCode", "Zip code or postal code."),
		text("country", "Country, ISO 3166-1 alpha-2."),
	)
	groupID := text("value", "The group's id.")
	groupID.CaseExact = true // as id itself is
	groups := plural("groups", "The groups that the user belongs to.", groupID, "direct", "indirect")
	groups.Mutability = ReadOnly
	member := typed(TypeReference, "$ref", "URI of the Group resource.")
	member.ReferenceTypes = []string{"Group"}
	groups.SubAttributes = append(groups.SubAttributes, member)
	return Schema{
		ID: UserSchema, Name: "User", Description: "User Account",
		Attributes: []Attribute{
			userName,
			{
				Name: "name", Type: TypeComplex, Description: "The components of the user's name.",
				SubAttributes: []Attribute{
					text("formatted", "The full name, formatted for display."),
					text("familyName", "Family name."),
					text("givenName", "Given name."),
					text("middleName", "Middle names."),
					text("honorificPrefix", "Title, such as Ms."),
					text("honorificSuffix", "Suffix, such as III."),
				},
			},
			text("displayName", "The name to show."),
			text("nickName", "The casual way to address the user."),
			profile,
			text("title", "Job title."),
			text("userType", "Relation to the organisation, such as Employee or Contractor."),
			text("preferredLanguage", "Preferred languages, as in the Accept-Language header."),
			text("locale", "Location for formatting currency, dates and numbers."),
			text("timezone", "Time zone in IANA format."),
			typed(TypeBoolean, "active", "Whether the user may have any access."),
			plural("emails", "E-mail addresses.", text("value", "An e-mail address."), "work", "home", "other"),
			plural("phoneNumbers", "Phone numbers.", text("value", "A phone number."), "work", "home", "mobile", "fax", "pager", "other"),
			plural("ims", "Instant messaging addresses.", text("value", "An instant messaging address.")),
			plural("photos", "URLs of photos.", photo, "photo", "thumbnail"),
			addresses,
			groups,
			plural("entitlements", "Things that the user has, by name.", text("value", "An entitlement.")),
			plural("roles", "Roles that the user has, by name.", text("value", "A role.")),
			plural("x509Certificates", "X.509 certificates.", certificate),
		},
	}
}

func enterpriseUserSchema() Schema {
	reference := typed(TypeReference, "$ref", "URI of the manager's User resource.")
	reference.ReferenceTypes = []string{"User"}
	return Schema{
		ID: EnterpriseUserSchema, Name: "EnterpriseUser", Description: "Enterprise User",
		Attributes: []Attribute{
			text("employeeNumber", "Identifier given by the organisation."),
			text("costCenter", "Name of a cost center."),
			text("organization", "Name of an organisation."),
			text("division", "Name of a division."),
			text("department", "Name of a department."),
			{
				Name: "manager", Type: TypeComplex,
				Description: "The user's manager, as the identity provider names them. Not resolved.",
				SubAttributes: []Attribute{
					text("value", "An identifier of the manager."),
					reference,
					text("displayName", "The manager's name for display."),
				},
			},
		},
	}
}
