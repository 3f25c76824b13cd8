package schema_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// field is one value that an object can hold: a path of member names, "[]" for an element and "{}" for a value of a map.
type field struct {
	path []string
	kind reflect.Type
}

func (f field) String() string { return strings.Join(f.path, ".") }

// name is the last member's name in the path, which a refusal must mention.
func (f field) name() string {
	for _, segment := range slices.Backward(f.path) {
		if segment != "[]" && segment != "{}" {
			return segment
		}
	}
	return ""
}

// leaves are types that read their JSON themselves.
var leaves = []reflect.Type{
	reflect.TypeFor[metav1.Time](), reflect.TypeFor[metav1.MicroTime](), reflect.TypeFor[metav1.Duration](), reflect.TypeFor[runtime.RawExtension](),
}

// fieldsOf lists all fields of a type, those that hold others too.
func fieldsOf(kind reflect.Type, path ...string) []field {
	for kind.Kind() == reflect.Pointer {
		kind = kind.Elem()
	}
	found := []field{{path: slices.Clone(path), kind: kind}}
	if slices.Contains(leaves, kind) {
		return found
	}
	switch kind.Kind() {
	case reflect.Slice:
		found = append(found, fieldsOf(kind.Elem(), append(path, "[]")...)...)
	case reflect.Map:
		found = append(found, fieldsOf(kind.Elem(), append(path, "{}")...)...)
	case reflect.Struct:
		for i := range kind.NumField() {
			name, _, _ := strings.Cut(kind.Field(i).Tag.Get("json"), ",")
			if name != "" && name != "-" {
				found = append(found, fieldsOf(kind.Field(i).Type, append(path, name)...)...)
			}
		}
	}
	return found
}

// with returns a copy of a sample in which the field has another value; ok is false where the sample lacks what holds the field.
func with(sample any, path []string, value json.RawMessage) (changed any, ok bool) {
	if len(path) == 0 {
		return value, true
	}
	switch sample := sample.(type) {
	case map[string]any:
		copied, key := maps.Clone(sample), path[0]
		if key == "{}" {
			for first := range sample {
				key = first
			}
		}
		held, found := sample[key]
		if !found && len(path) > 1 {
			return nil, false
		}
		copied[key], ok = with(held, path[1:], value)
		return copied, ok
	case []any:
		if path[0] != "[]" || len(sample) == 0 {
			return nil, false
		}
		copied := slices.Clone(sample)
		copied[0], ok = with(sample[0], path[1:], value)
		return copied, ok
	}
	return nil, false
}

// oddValues are what a client may write into any field.
var oddValues = values(`null`, `true`, `1`, `-1`, `1.5`, `"x"`, `""`, `[]`, `[1]`, `["x"]`, `{}`, `{"a":1}`, `[{}]`, `"\u0000\ud800"`)

var oddNumbers = values(`0`, `1e0`, `1e3`, `10E2`, `1.0`, `100e-2`, `-0`, `-0.0`, `"1"`, `2147483647`, `2147483648`, `-2147483649`, `4294967296`,
	`9223372036854775807`, `9223372036854775808`, `-9223372036854775809`, `1e18`, `1e19`, `1e21`, `1e300`, `18446744073709551616`, `0.1`)

var oddDurations = texts("1d", "1w", "soon", "1", "0", "1h", "1h30m", "1H", "1 h", " 1h", "1h ", "+1h", "-1h", ".5h", "1.h", "1.5h", "1h1h", "1m1h", "PT1H", "1:00:00",
	"1µs", "1μs", "1us", "1ns", "1ms", "500ms", "2s", "30d", "720h", "999999h", "9999999h", "2562047h47m16.854775807s", "2562047h47m16.854775808s", "1e3s", "0x1h", "١h", "1h\n",
	strings.Repeat("0", 100)+"1h", "0."+strings.Repeat("1", 60)+"h", "infinity", "1y", "3600")

var oddTimes = texts("2027-02-01T00:00:00Z", "2027-02-01t00:00:00z", "2027-02-01T00:00:00z", "2027-02-01t00:00:00Z", "2027-02-01T00:00:00+99:99", "2027-02-01T00:00:00+24:00",
	"2027-02-01T00:00:00-00:00", "2027-02-01T00:00:00+14:00", "2027-02-01T00:00:00,5Z", "2027-02-01T00:00:00.5Z", "2027-02-01T00:00:00.123456789Z", "2027-02-01T00:00:00.Z",
	"2027-02-01T00:00:00.1234567890123456789012345678901234567890Z", "2027-02-01 00:00:00Z", "2027-02-01T00:00:00", "2027-02-01T00:00Z", "2027-02-01", "2027-02-30T00:00:00Z",
	"2027-13-01T00:00:00Z", "2027-00-01T00:00:00Z", "2028-02-29T00:00:00Z", "2027-02-29T00:00:00Z", "2027-02-01T24:00:00Z", "2027-02-01T23:59:60Z", "2027-02-01T00:60:00Z",
	"0000-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "10000-01-01T00:00:00Z", "-2027-02-01T00:00:00Z", "27-02-01T00:00:00Z", "2027-2-1T0:0:0Z",
	"2027-02-01T00:00:00+0000", "2027-02-01T00:00:00+00", "2027-02-01T00:00:00 Z", " 2027-02-01T00:00:00Z", "2027-02-01T00:00:00Z\n", "２０２７-02-01T00:00:00Z", "tomorrow", "1798761600")

func values(list ...string) []json.RawMessage {
	raw := make([]json.RawMessage, len(list))
	for i, value := range list {
		raw[i] = json.RawMessage(value)
	}
	return raw
}

func texts(list ...string) []json.RawMessage {
	raw := make([]json.RawMessage, len(list))
	for i, value := range list {
		encoded, err := json.Marshal(value)
		if err != nil {
			panic(fmt.Sprint("test data: ", err))
		}
		raw[i] = encoded
	}
	return raw
}

// corpus of a field: what a client may write anywhere, and what looks like its type.
func (f field) corpus() []json.RawMessage {
	corpus := slices.Clone(oddValues)
	switch f.kind {
	case reflect.TypeFor[metav1.Time](), reflect.TypeFor[metav1.MicroTime]():
		return append(corpus, oddTimes...)
	case reflect.TypeFor[metav1.Duration]():
		return append(corpus, oddDurations...)
	}
	switch f.kind.Kind() {
	case reflect.Int, reflect.Int32, reflect.Int64, reflect.Float64:
		return append(corpus, oddNumbers...)
	case reflect.Map:
		return append(corpus, values(`{"a":null}`, `{"":""}`, `{"a":{"b":"c"}}`, `{"a":["b"]}`)...)
	}
	return corpus
}
