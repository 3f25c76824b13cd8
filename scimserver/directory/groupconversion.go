package directory

import (
	"strings"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/claims"
	"github.com/scim-operator/scim-operator/scimserver/protocol"
)

// setGroupResource writes a SCIM group, its members apart, into a spec: everything that a client decides, and nothing
// else.
func setGroupResource(spec *v1alpha1.GroupSpec, resource protocol.Resource) error {
	attributes, extensions := map[string]any{}, map[string]any{}
	for name, value := range resource.Attributes {
		if strings.IndexByte(name, ':') >= 0 {
			extensions[name] = value
		} else {
			attributes[name] = value
		}
	}
	for name, field := range groupTexts(spec) {
		*field = ""
		if text, ok := attributes[name].(string); ok {
			*field = text
			delete(attributes, name)
		}
	}
	if spec.DisplayName == "" {
		return protocol.InvalidValue("displayName is required.")
	}
	spec.DisplayNameKey = claims.Key(spec.DisplayName)
	spec.Containers = resource.Containers
	var err error
	if spec.Attributes, err = encode(attributes); err != nil {
		return err
	}
	spec.Extensions, err = encode(extensions)
	return err
}

func groupTexts(spec *v1alpha1.GroupSpec) map[string]*string {
	return map[string]*string{"displayName": &spec.DisplayName, "externalId": &spec.ExternalID}
}

// GroupAttributes returns a group as SCIM describes it, without its members. The result shares nothing with the object. It
// fails where spec.attributes or spec.extensions is no JSON object.
func GroupAttributes(group *v1alpha1.Group) (protocol.Resource, error) {
	spec := group.Spec
	attributes, err := decode(spec.Attributes)
	if err != nil {
		return protocol.Resource{}, err
	}
	extensions, err := decode(spec.Extensions)
	if err != nil {
		return protocol.Resource{}, err
	}
	resource := protocol.Resource{Attributes: make(map[string]any, 2+len(attributes)+len(extensions))}
	for _, some := range []map[string]any{attributes, extensions} {
		for name, value := range some {
			resource.Attributes[name] = value
		}
	}
	for name, field := range groupTexts(&spec) {
		if *field != "" {
			resource.Attributes[name] = *field
		}
	}
	if len(spec.Containers) > 0 {
		resource.Containers = make(map[string]string, len(spec.Containers))
		for name, container := range spec.Containers {
			resource.Containers[name] = container
		}
	}
	return resource, nil
}

// GroupMetaWith is Groups.Meta for an answer that shows these members: the version is by them.
func GroupMetaWith(group *v1alpha1.Group, baseURL string, members []protocol.Member) protocol.Meta {
	return groupMeta(group, baseURL, shownVersion(group, members))
}

func groupMeta(group *v1alpha1.Group, baseURL string, v version) protocol.Meta {
	m := protocol.Meta{
		ID: group.Name, Location: baseURL + "/Groups/" + group.Name, Version: v.String(),
		Created: GroupCreatedAt(group), LastModified: GroupCreatedAt(group),
	}
	if group.Spec.LastModified != nil {
		m.LastModified = group.Spec.LastModified.Time
	}
	return m
}
