package directory

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"

	"k8s.io/apimachinery/pkg/runtime"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/claims"
	"github.com/scim-operator/scim-operator/scimserver/protocol"
)

// setResource writes a SCIM resource into a spec: everything that a client decides, and nothing else. active keeps its value
// where the resource has none.
//
// RFC 7643's attributes go into their fields, as far as they fit. A value with a sub-attribute that the field does not have
// is kept twice: in the field, which controllers read, and as it came, under its name, which SCIM clients get back.
func setResource(spec *v1alpha1.UserSpec, resource protocol.Resource) error {
	attributes, extensions := map[string]any{}, map[string]any{}
	for name, value := range resource.Attributes {
		if strings.IndexByte(name, ':') >= 0 {
			extensions[name] = value
		} else {
			attributes[name] = value
		}
	}
	if active, ok := attributes["active"].(bool); ok {
		spec.Active = active
		delete(attributes, "active")
	}
	for _, a := range userAttributes {
		if a.set(spec, attributes[a.name]) {
			delete(attributes, a.name)
		}
	}
	if enterprise.set(spec, extensions[protocol.EnterpriseUserSchema]) {
		delete(extensions, protocol.EnterpriseUserSchema)
	}
	if spec.UserName == "" {
		return protocol.InvalidValue("userName is required.")
	}
	spec.UserNameKey = claims.Key(spec.UserName)
	spec.Containers = resource.Containers
	var err error
	if spec.Attributes, err = encode(attributes); err != nil {
		return err
	}
	spec.Extensions, err = encode(extensions)
	return err
}

// Resource returns a user as SCIM describes it. The result shares nothing with the object. It fails where spec.attributes or
// spec.extensions is no JSON object.
func Resource(user *v1alpha1.User) (protocol.Resource, error) {
	spec := &user.Spec
	attributes := make(map[string]any, 12)
	for _, a := range userAttributes {
		if value := a.get(spec); value != nil {
			attributes[a.name] = value
		}
	}
	if value := enterprise.get(spec); value != nil {
		attributes[protocol.EnterpriseUserSchema] = value
	}
	for _, more := range []*runtime.RawExtension{spec.Attributes, spec.Extensions} {
		if err := decodeInto(attributes, spec, more); err != nil {
			return protocol.Resource{}, fmt.Errorf("read user %s: %w", user.Name, err)
		}
	}
	// The object may have been edited by hand: what only the server says is set last.
	attributes["active"] = spec.Active
	delete(attributes, "groups")
	resource := protocol.Resource{Attributes: attributes}
	if len(spec.Containers) > 0 {
		resource.Containers = make(map[string]string, len(spec.Containers))
		for name, container := range spec.Containers {
			resource.Containers[name] = container
		}
	}
	return resource, nil
}

// decodeInto adds attributes that were kept as they are. Where one has a field as well, and the field was edited in the
// cluster since, the field is right.
func decodeInto(attributes map[string]any, spec *v1alpha1.UserSpec, raw *runtime.RawExtension) error {
	kept, err := decode(raw)
	if err != nil {
		return err
	}
	for name, value := range kept {
		if a, ok := typed(name); ok {
			var probe v1alpha1.UserSpec
			a.set(&probe, value)
			if !reflect.DeepEqual(a.get(&probe), a.get(spec)) {
				continue
			}
		}
		attributes[name] = value
	}
	return nil
}

func typed(name string) (attribute, bool) {
	if name == protocol.EnterpriseUserSchema {
		return enterprise, true
	}
	for _, a := range userAttributes {
		if a.name == name {
			return a, true
		}
	}
	return attribute{}, false
}

// numberKey marks a number that the API server would spell otherwise: it reads numbers as int64 or float64. An object
// that a client sent with this very key is wrapped in another.
const numberKey = "$number"

func encode(attributes map[string]any) (*runtime.RawExtension, error) {
	if len(attributes) == 0 {
		return nil, nil
	}
	protected := make(map[string]any, len(attributes))
	for name, value := range attributes {
		protected[name] = protectNumbers(value)
	}
	raw, err := json.Marshal(protected)
	if err != nil {
		return nil, fmt.Errorf("encode attributes: %w", err)
	}
	return &runtime.RawExtension{Raw: raw}, nil
}

func decode(raw *runtime.RawExtension) (map[string]any, error) {
	if raw == nil || len(raw.Raw) == 0 {
		return nil, nil
	}
	decoder := json.NewDecoder(bytes.NewReader(raw.Raw))
	decoder.UseNumber()
	var attributes map[string]any
	if err := decoder.Decode(&attributes); err != nil {
		return nil, fmt.Errorf("decode attributes: %w", err)
	}
	for name, value := range attributes {
		attributes[name] = restoreNumbers(value)
	}
	return attributes, nil
}

// protectNumbers returns a copy in which every number survives the API server letter by letter.
func protectNumbers(value any) any {
	switch value := value.(type) {
	case json.Number:
		if survives(value) {
			return value
		}
		return map[string]any{numberKey: string(value)}
	case []any:
		list := make([]any, len(value))
		for i, element := range value {
			list[i] = protectNumbers(element)
		}
		return list
	case map[string]any:
		object := make(map[string]any, len(value))
		for key, member := range value {
			object[key] = protectNumbers(member)
		}
		if _, marked := object[numberKey]; marked && len(object) == 1 {
			return map[string]any{numberKey: object}
		}
		return object
	default:
		return value
	}
}

// restoreNumbers undoes protectNumbers, in place.
func restoreNumbers(value any) any {
	switch value := value.(type) {
	case []any:
		for i, element := range value {
			value[i] = restoreNumbers(element)
		}
	case map[string]any:
		if marked, ok := value[numberKey]; ok && len(value) == 1 {
			if text, ok := marked.(string); ok {
				return json.Number(text)
			}
			if object, ok := marked.(map[string]any); ok {
				return restoreMembers(object)
			}
		}
		return restoreMembers(value)
	}
	return value
}

func restoreMembers(object map[string]any) map[string]any {
	for key, member := range object {
		object[key] = restoreNumbers(member)
	}
	return object
}

// survives says whether the API server gives a number back as it was spelled.
func survives(number json.Number) bool {
	if integer, err := number.Int64(); err == nil {
		return fmt.Sprint(integer) == string(number)
	}
	float, err := number.Float64()
	if err != nil {
		return false
	}
	spelled, err := json.Marshal(float)
	return err == nil && string(spelled) == string(number)
}
