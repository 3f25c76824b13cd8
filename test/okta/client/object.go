package okta

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
)

// Object is a JSON object that keeps the order of its members. Values are string, bool, json.Number, nil, []any and Object.
type Object []Member

// Member is one name and value of an Object.
type Member struct {
	Name  string
	Value any
}

// Get returns a member's value, or nil.
func (o Object) Get(name string) any {
	for _, member := range o {
		if member.Name == name {
			return member.Value
		}
	}
	return nil
}

// Set replaces a member's value in its place, or adds the member at the end.
func (o *Object) Set(name string, value any) {
	for i := range *o {
		if (*o)[i].Name == name {
			(*o)[i].Value = value
			return
		}
	}
	*o = append(*o, Member{Name: name, Value: value})
}

// Merge sets the members of another object, objects within objects member by member.
func (o *Object) Merge(other Object) {
	for _, member := range other {
		inner, isObject := member.Value.(Object)
		held, holdsObject := o.Get(member.Name).(Object)
		if isObject && holdsObject {
			held = append(Object(nil), held...)
			held.Merge(inner)
			o.Set(member.Name, held)
			continue
		}
		o.Set(member.Name, member.Value)
	}
}

// MarshalJSON keeps the order, and writes characters such as & as they are. It returns no error.
func (o Object) MarshalJSON() ([]byte, error) { return o.Encode(), nil }

// Encode returns the object as JSON.
func (o Object) Encode() []byte {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, member := range o {
		if i > 0 {
			b.WriteByte(',')
		}
		b.Write(quote(member.Name))
		b.WriteByte(':')
		b.Write(encode(member.Value))
	}
	b.WriteByte('}')
	return b.Bytes()
}

func encode(value any) []byte {
	switch value := value.(type) {
	case Object:
		return value.Encode()
	case []any:
		var b bytes.Buffer
		b.WriteByte('[')
		for i, element := range value {
			if i > 0 {
				b.WriteByte(',')
			}
			b.Write(encode(element))
		}
		b.WriteByte(']')
		return b.Bytes()
	default:
		return quote(value)
	}
}

// quote encodes a plain value without escaping what HTML would need.
func quote(value any) []byte {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		panic(fmt.Sprintf("a test tried to send %T: %v", value, err))
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// DecodeObject reads a JSON object with its order. It fails where the data is no JSON object.
func DecodeObject(data []byte) (Object, error) {
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	value, err := decodeValue(decoder)
	if err != nil {
		return nil, err
	}
	object, ok := value.(Object)
	if !ok {
		return nil, fmt.Errorf("a JSON object was expected, not %T", value)
	}
	return object, nil
}

func decodeValue(decoder *json.Decoder) (any, error) {
	token, err := decoder.Token()
	if err != nil {
		return nil, err
	}
	switch token {
	case json.Delim('{'):
		object := Object{}
		for decoder.More() {
			name, err := decoder.Token()
			if err != nil {
				return nil, err
			}
			value, err := decodeValue(decoder)
			if err != nil {
				return nil, err
			}
			object = append(object, Member{Name: name.(string), Value: value})
		}
		_, err = decoder.Token()
		return object, err
	case json.Delim('['):
		list := []any{}
		for decoder.More() {
			value, err := decodeValue(decoder)
			if err != nil {
				return nil, err
			}
			list = append(list, value)
		}
		_, err = decoder.Token()
		return list, err
	default:
		return token, nil
	}
}

// decodeDocument reads a whole body as maps and slices, for look-ups by At.
func decodeDocument(body []byte) (any, error) {
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber()
	var document any
	if err := decoder.Decode(&document); err != nil {
		return nil, err
	}
	if _, err := decoder.Token(); err != io.EOF {
		return nil, fmt.Errorf("more than one JSON value")
	}
	return document, nil
}

// At follows names (string) and indexes (int) into a decoded document; nil where the path ends early.
func At(document any, path ...any) any {
	for _, step := range path {
		switch step := step.(type) {
		case string:
			object, _ := document.(map[string]any)
			document = object[step]
		case int:
			list, _ := document.([]any)
			if step < 0 || step >= len(list) {
				return nil
			}
			document = list[step]
		default:
			panic(fmt.Sprintf("a path holds %T", step))
		}
	}
	return document
}

// At follows a path into the answer.
func (e *Exchange) At(path ...any) any { return At(e.Document, path...) }

// Text is At for strings; "" where there is none.
func (e *Exchange) Text(path ...any) string {
	text, _ := e.At(path...).(string)
	return text
}

// ObjectOf makes an object of names and values by turns.
func ObjectOf(namesAndValues ...any) Object {
	object := Object{}
	for i := 0; i+1 < len(namesAndValues); i += 2 {
		object = append(object, Member{Name: namesAndValues[i].(string), Value: namesAndValues[i+1]})
	}
	return object
}
