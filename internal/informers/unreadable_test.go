package informers

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// thing has each kind of field that Go reads more strictly than a schema may.
type thing struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              struct {
		Wait   *metav1.Duration       `json:"wait,omitempty"`
		Times  map[string]metav1.Time `json:"times,omitempty"`
		Parts  []part                 `json:"parts,omitempty"`
		Number int32                  `json:"number,omitempty"`
	} `json:"spec"`
}

type part struct {
	Name string      `json:"name"`
	At   metav1.Time `json:"at,omitempty"`
}

func TestSalvage(t *testing.T) {
	of := reflect.TypeFor[thing]()
	for name, test := range map[string]struct{ spec, path, left string }{
		"a duration":               {`{"wait":"1d","number":7}`, "spec.wait", `{"number":7}`},
		"a value of a map":         {`{"times":{"a":"2027-01-01T00:00:00Z","b":"soon"}}`, "spec.times.b", `{"times":{"a":"2027-01-01T00:00:00Z"}}`},
		"a member of an element":   {`{"parts":[{"name":"a"},{"name":"b","at":"x"}]}`, "spec.parts.1.at", `{"parts":[{"name":"a"},{"name":"b"}]}`},
		"an element":               {`{"parts":[{"name":"a"},"b",{"name":"c"}]}`, "spec.parts.1", `{"parts":[{"name":"a"},{"name":"c"}]}`},
		"a number out of range":    {`{"number":3000000000}`, "spec.number", `{}`},
		"several":                  {`{"wait":"x","number":"y","parts":7}`, "spec.number", `{}`},
		"a list in place of a map": {`{"times":[]}`, "spec.times", `{}`},
	} {
		t.Run(name, func(t *testing.T) {
			object := []byte(`{"apiVersion":"a/v1","kind":"Thing","metadata":{"name":"n"},"spec":` + test.spec + `}`)
			path, err := decodes(of, object)
			if got := strings.Join(path, "."); err == nil || got != test.path {
				t.Errorf("at %q: %v, want %q", got, err, test.path)
			}
			salvaged, ok := salvage(of, object, "note", "text")
			var got struct {
				Metadata metav1.ObjectMeta
				Spec     json.RawMessage
			}
			if err := json.Unmarshal(salvaged, &got); err != nil || !ok {
				t.Fatalf("salvaged %v: %v", ok, err)
			}
			if string(got.Spec) != test.left || got.Metadata.Annotations["note"] != "text" || got.Metadata.Name != "n" {
				t.Errorf("salvaged %s, want the spec %s", salvaged, test.left)
			}
		})
	}
	for _, lost := range []string{`{"metadata":{"name":"n","labels":7},"spec":{}}`, `{"metadata":{"name":"n"},"spec":[]}`, `{"spec":{"wait":"x"}}`, `[]`} {
		if salvaged, ok := salvage(of, []byte(lost), "note", "text"); ok && lost != `{"metadata":{"name":"n"},"spec":[]}` {
			t.Errorf("%s is salvaged as %s", lost, salvaged)
		}
	}
}
