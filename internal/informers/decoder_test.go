package informers

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/runtime/serializer/streaming"
	"k8s.io/apimachinery/pkg/watch"
	restclientwatch "k8s.io/client-go/rest/watch"

	"github.com/scim-operator/scim-operator/internal/scheme"
)

// clientGo returns client-go's own decoder of a watch, as the caches of controller-runtime have it.
func clientGo(t *testing.T, stream string) watch.Decoder {
	t.Helper()
	kinds, err := scheme.New()
	if err != nil {
		t.Fatal(err)
	}
	codecs := serializer.WithoutConversionCodecFactory{CodecFactory: serializer.NewCodecFactory(kinds)}
	info, found := runtime.SerializerInfoForMediaType(codecs.SupportedMediaTypes(), runtime.ContentTypeJSON)
	if !found {
		t.Fatal("no serializer of JSON")
	}
	events := streaming.NewDecoder(info.StreamSerializer.NewFrameReader(io.NopCloser(strings.NewReader(stream))), info.StreamSerializer.Serializer)
	return restclientwatch.NewDecoder(events, codecs.DecoderToVersion(info.Serializer, rbacv1.SchemeGroupVersion))
}

func ownDecoder(stream io.Reader) *decoder {
	return newDecoder(reflect.TypeFor[rbacv1.RoleBinding](), stream, func() {})
}

func roleBinding(name, more string) string {
	return fmt.Sprintf(`{"kind":"RoleBinding","apiVersion":"rbac.authorization.k8s.io/v1","metadata":{"name":%q,"namespace":"ns","resourceVersion":"7",`+
		`"managedFields":[{"manager":"m","operation":"Update","fieldsType":"FieldsV1","fieldsV1":{"f:subjects":{}}}]},`+
		`"roleRef":{"kind":"Role","name":"r"},"subjects":[{"kind":"User","name":"jane@example.com"}]%s}`, name, more)
}

// A watch is read as client-go reads it, event by event, whatever the events look like, up to the end or the error.
func TestDecodesAsClientGoDoes(t *testing.T) {
	status := `{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"too old","reason":"Expired","code":410}`
	for name, stream := range map[string]string{
		"nothing":        "",
		"events":         event("ADDED", roleBinding("a", "")) + event("MODIFIED", roleBinding("a", "")) + event("DELETED", roleBinding("a", "")),
		"a bookmark":     event("BOOKMARK", `{"kind":"RoleBinding","apiVersion":"rbac.authorization.k8s.io/v1","metadata":{"resourceVersion":"9","annotations":{"`+metav1.InitialEventsAnnotationKey+`":"true"}}}`),
		"an error":       event("ERROR", status),
		"long ones":      event("ADDED", roleBinding(strings.Repeat("a", 3*eventBuffer), "")) + event("ADDED", roleBinding(strings.Repeat("b", eventBuffer), "")) + event("ADDED", roleBinding("c", "")),
		"blank lines":    "\n\n" + event("ADDED", roleBinding("a", "")) + "  \r\n" + event("ADDED", roleBinding("b", "")),
		"spaces":         `{ "type": "ADDED", "object": ` + roleBinding("a", "") + " }\n" + event("ADDED", roleBinding("b", "")),
		"another order":  `{"object":` + roleBinding("a", "") + `,"type":"ADDED"}` + "\n",
		"more members":   `{"type":"ADDED","object":` + roleBinding("a", "") + `,"more":{"a":1}}` + "\n",
		"unknown fields": event("ADDED", roleBinding("a", `,"more":{"a":[1,2,3]}`)),
		"escapes":        event("ADDED", roleBinding(`a\u00e4"b<>&`+"\u2028", "")),
		"a number":       event("ADDED", `{"kind":"RoleBinding","apiVersion":"rbac.authorization.k8s.io/v1","metadata":{"generation":9007199254740993}}`),
		"other case":     event("ADDED", `{"kind":"RoleBinding","apiVersion":"rbac.authorization.k8s.io/v1","METADATA":{"name":"a"}}`),
		"no such event":  event("CHANGED", roleBinding("a", "")) + event("ADDED", roleBinding("b", "")),
		"a wrong type":   event("ADDED", `{"kind":"RoleBinding","apiVersion":"rbac.authorization.k8s.io/v1","subjects":"x"}`),
		"no JSON":        event("ADDED", `{"kind":"RoleBinding",}`),
		"cut off":        event("ADDED", roleBinding("a", "")) + strings.TrimSuffix(event("ADDED", roleBinding("b", "")), "\"}]}}\n"),
	} {
		t.Run(name, func(t *testing.T) {
			own, theirs := ownDecoder(strings.NewReader(stream)), clientGo(t, stream)
			for i := range 4 {
				gotType, got, gotErr := own.Decode()
				wantType, want, wantErr := theirs.Decode()
				if gotType != wantType || !apiequality.Semantic.DeepEqual(got, want) {
					t.Errorf("event %d: %s %+v, want %s %+v", i, gotType, got, wantType, want)
				}
				if (gotErr == nil) != (wantErr == nil) || errors.Is(gotErr, io.EOF) != errors.Is(wantErr, io.EOF) ||
					errors.Is(gotErr, io.ErrUnexpectedEOF) != errors.Is(wantErr, io.ErrUnexpectedEOF) {
					t.Errorf("event %d: error %v, want %v", i, gotErr, wantErr)
				}
				if gotErr != nil {
					break
				}
			}
		})
	}
}

// What an event has is its own: the next one takes the buffer.
func TestDecodedEventsKeepNoBuffer(t *testing.T) {
	d := newDecoder(reflect.TypeFor[raw](), strings.NewReader(event("ADDED", `{"spec":{"a":1}}`)+event("ADDED", `{"spec":{"b":2}}`)), func() {})
	_, first, err := d.Decode()
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := d.Decode(); err != nil {
		t.Fatal(err)
	}
	if got := string(first.(*raw).Spec.Raw); got != `{"a":1}` {
		t.Errorf("the first event's object has become %s", got)
	}
}

// raw has a field that takes JSON as it is.
type raw struct {
	metav1.TypeMeta `json:",inline"`
	Spec            runtime.RawExtension `json:"spec"`
}

func (r *raw) DeepCopyObject() runtime.Object {
	return &raw{TypeMeta: r.TypeMeta, Spec: *r.Spec.DeepCopy()}
}

func TestEventsHaveABound(t *testing.T) {
	d := ownDecoder(io.MultiReader(strings.NewReader(`{"type":"ADDED","object":{"x":"`), endless{}))
	if _, _, err := d.Decode(); err == nil || !strings.Contains(err.Error(), "longer than") {
		t.Errorf("error %v", err)
	}
	if cap(d.long) > 2*maxEvent+eventBuffer {
		t.Errorf("%d bytes are kept", cap(d.long))
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'a'
	}
	return len(p), nil
}

func TestDecodesItself(t *testing.T) {
	for of, want := range map[reflect.Type]bool{
		reflect.TypeFor[rbacv1.RoleBinding]():           true,
		reflect.TypeFor[metav1.PartialObjectMetadata](): false,
		reflect.TypeFor[unstructured.Unstructured]():    false,
		reflect.TypeFor[struct{}]():                     false,
	} {
		if got := decodesItself(of); got != want {
			t.Errorf("%s: %v", of, got)
		}
	}
}

// The follower has a watch's answer, and client-go one that ends when it is closed. A list, and a watch in another format, stay client-go's.
func TestTakesWatches(t *testing.T) {
	for name, test := range map[string]struct {
		query string
		takes bool
		want  bool
	}{
		"a watch":                     {"watch=true", true, true},
		"a list":                      {"", true, false},
		"a watch of another follower": {"watch=true", false, false},
	} {
		t.Run(name, func(t *testing.T) {
			x := &exchange{follower: newFollower(&Watches{}), takes: test.takes}
			request, err := http.NewRequestWithContext(exchanging(t.Context(), x), http.MethodGet, "http://api/things?"+test.query, http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			response, err := (&filter{next: &answers{"text"}}).RoundTrip(request)
			if err != nil {
				t.Fatal(err)
			}
			if (x.events != nil) != test.want {
				t.Fatalf("taken: %v", x.events != nil)
			}
			from := response.Body
			if test.want {
				from = x.events
				ended := make(chan error, 1)
				go func() {
					_, err := response.Body.Read(make([]byte, 1))
					ended <- err
				}()
				_ = response.Body.Close()
				if err := <-ended; !errors.Is(err, io.EOF) {
					t.Errorf("client-go's answer ends with %v", err)
				}
				_ = response.Body.Close()
			}
			if text, err := io.ReadAll(from); err != nil || string(text) != "text" {
				t.Errorf("read %q, error %v", text, err)
			}
		})
	}
}
