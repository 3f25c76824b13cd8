package informers

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	kjson "sigs.k8s.io/json"
)

// UnreadableError is an object that the API server has and Go cannot decode. For this process it does not exist, unless Salvage says
// otherwise.
type UnreadableError struct {
	Kind            schema.GroupVersionKind
	Name            types.NamespacedName
	UID             types.UID
	ResourceVersion string
	// Field is the path of the value that cannot be decoded, such as spec.safety.window; of a list's element its index is part of it,
	// as in spec.roles.0.name. Empty where none could be found.
	Field string
	// Err is the decoder's error.
	Err error
}

// Error says what is wrong and where, for logs and Events.
func (u UnreadableError) Error() string {
	if u.Field == "" {
		return fmt.Sprintf("%s %s cannot be read: %v", u.Kind.Kind, u.Name, u.Err)
	}
	return fmt.Sprintf("%s %s cannot be read: %s: %v", u.Kind.Kind, u.Name, u.Field, u.Err)
}

// identity is the part of an object's metadata that names it.
type identity struct {
	Metadata struct {
		Namespace       string            `json:"namespace"`
		Name            string            `json:"name"`
		UID             types.UID         `json:"uid"`
		ResourceVersion string            `json:"resourceVersion"`
		Annotations     map[string]string `json:"annotations"`
	} `json:"metadata"`
}

func (i identity) name() types.NamespacedName {
	return types.NamespacedName{Namespace: i.Metadata.Namespace, Name: i.Metadata.Name}
}

// decodes reports whether a Go type can be read from an object, by the decoder of the informers; otherwise path is where not.
func decodes(of reflect.Type, object []byte) (path []string, err error) {
	err = kjson.UnmarshalCaseSensitivePreserveInts(object, reflect.New(of).Interface())
	if err == nil {
		return nil, nil
	}
	return pathIn(of, object), err
}

// pathIn finds the deepest value that cannot be decoded, the first in the order of the alphabet: names of members, and indices.
func pathIn(of reflect.Type, value []byte) []string {
	for of.Kind() == reflect.Pointer {
		of = of.Elem()
	}
	if _, reads := reflect.New(of).Interface().(json.Unmarshaler); reads {
		return nil
	}
	switch of.Kind() {
	case reflect.Struct:
		return pathInMember(value, func(name string) (reflect.Type, bool) { return typeOf(of, name) })
	case reflect.Map:
		return pathInMember(value, func(string) (reflect.Type, bool) { return of.Elem(), true })
	case reflect.Slice:
		var elements []json.RawMessage
		if json.Unmarshal(value, &elements) != nil {
			return nil
		}
		for i, element := range elements {
			if !isReadable(of.Elem(), element) {
				return append([]string{strconv.Itoa(i)}, pathIn(of.Elem(), element)...)
			}
		}
	}
	return nil
}

// pathInMember is pathIn for an object with members of the types that typeOf tells.
func pathInMember(value []byte, typeOf func(name string) (reflect.Type, bool)) []string {
	var members map[string]json.RawMessage
	if json.Unmarshal(value, &members) != nil {
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(members)) {
		if of, known := typeOf(name); known && !isReadable(of, members[name]) {
			return append([]string{name}, pathIn(of, members[name])...)
		}
	}
	return nil
}

func isReadable(of reflect.Type, value []byte) bool {
	return kjson.UnmarshalCaseSensitivePreserveInts(value, reflect.New(of).Interface()) == nil
}

// typeOf finds the type of a struct's field by its name in JSON.
func typeOf(of reflect.Type, name string) (reflect.Type, bool) {
	for i := range of.NumField() {
		tag, _, _ := strings.Cut(of.Field(i).Tag.Get("json"), ",")
		if tag == name && name != "" {
			return of.Field(i).Type, true
		}
	}
	return nil, false
}

// maxSalvaged bounds how many values are left out of one object.
const maxSalvaged = 16

// salvage leaves out of an object's spec and status what cannot be decoded, and notes so in an annotation. ok is false where that
// does not make it readable.
func salvage(of reflect.Type, object []byte, annotation, note string) (salvaged []byte, ok bool) {
	var tree map[string]any
	decoder := json.NewDecoder(bytes.NewReader(object))
	decoder.UseNumber()
	if decoder.Decode(&tree) != nil {
		return nil, false
	}
	metadata, _ := tree["metadata"].(map[string]any)
	if metadata == nil {
		return nil, false
	}
	annotations, _ := metadata["annotations"].(map[string]any)
	if annotations == nil {
		annotations = map[string]any{}
		metadata["annotations"] = annotations
	}
	annotations[annotation] = note
	for range maxSalvaged {
		encoded, err := json.Marshal(tree)
		if err != nil {
			return nil, false
		}
		path, err := decodes(of, encoded)
		if err == nil {
			return encoded, true
		}
		if len(path) < 2 || path[0] != "spec" && path[0] != "status" {
			return nil, false
		}
		without(tree, path)
	}
	return nil, false
}

// without returns a value without what is at a path.
func without(value any, path []string) any {
	switch value := value.(type) {
	case map[string]any:
		if len(path) == 1 {
			delete(value, path[0])
		} else {
			value[path[0]] = without(value[path[0]], path[1:])
		}
	case []any:
		i, err := strconv.Atoi(path[0])
		if err != nil || i >= len(value) {
			return value
		}
		if len(path) == 1 {
			return slices.Delete(value, i, i+1)
		}
		value[i] = without(value[i], path[1:])
	}
	return value
}
