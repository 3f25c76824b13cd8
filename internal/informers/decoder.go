package informers

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	kjson "sigs.k8s.io/json"
)

// decoder reads the events of a watch in JSON, one a line, into objects of one type. It implements watch.Decoder.
//
// It decodes as client-go does, by the same library, and goes through each object twice; client-go's own goes through it about eight
// times: to find its end, its kind, the event's members and the object's kind. Most of the start of a process with many Users
// was that.
type decoder struct {
	of     reflect.Type
	events *bufio.Reader
	long   []byte
	close  func()
}

const (
	// eventBuffer holds most events whole; maxEvent is the longest that is read, as in client-go.
	eventBuffer = 64 << 10
	maxEvent    = 16 << 20
)

// decodesItself says whether a watch of such objects is read by a decoder. What says itself how it is read is not.
func decodesItself(of reflect.Type) bool {
	object, isObject := reflect.New(of).Interface().(runtime.Object)
	switch object.(type) {
	case *metav1.PartialObjectMetadata, *unstructured.Unstructured:
		return false
	}
	return isObject
}

func newDecoder(of reflect.Type, from io.Reader, closeAll func()) *decoder {
	return &decoder{of: of, events: bufio.NewReaderSize(from, eventBuffer), close: closeAll}
}

// Close ends the watch.
func (d *decoder) Close() { d.close() }

// Decode waits for the next event. It returns io.EOF at the end of the watch, and other errors of reading; else the error says
// which event cannot be decoded.
func (d *decoder) Decode() (watch.EventType, runtime.Object, error) {
	line, err := d.line()
	if err != nil {
		return "", nil, err
	}
	if kind, object, ok := split(line); ok {
		if decoded, err := d.object(kind, object); err == nil {
			return kind, decoded, nil
		}
	}
	// It is written in another way than API servers do, or wrong.
	var event struct {
		Type   watch.EventType `json:"type"`
		Object json.RawMessage `json:"object"`
	}
	if err := kjson.UnmarshalCaseSensitivePreserveInts(line, &event); err != nil {
		return "", nil, fmt.Errorf("unable to decode watch event: %w", err)
	}
	decoded, err := d.object(event.Type, event.Object)
	if err != nil {
		return "", nil, fmt.Errorf("unable to decode watch event: %w", err)
	}
	return event.Type, decoded, nil
}

// object decodes what an event is about. As from client-go's, it comes without apiVersion and kind.
func (d *decoder) object(kind watch.EventType, text []byte) (runtime.Object, error) {
	var into runtime.Object
	switch kind {
	case watch.Added, watch.Modified, watch.Deleted, watch.Bookmark:
		into = reflect.New(d.of).Interface().(runtime.Object)
	case watch.Error:
		into = &metav1.Status{}
	default:
		return nil, fmt.Errorf("got invalid watch event type: %v", kind)
	}
	if err := kjson.UnmarshalCaseSensitivePreserveInts(text, into); err != nil {
		return nil, err
	}
	into.GetObjectKind().SetGroupVersionKind(schema.GroupVersionKind{})
	return into, nil
}

var (
	beforeType   = []byte(`{"type":"`)
	beforeObject = []byte(`","object":`)
)

// split cuts an event as API servers write it, without reading the object: whether that is one its decoder finds out.
func split(event []byte) (kind watch.EventType, object []byte, ok bool) {
	rest, begins := bytes.CutPrefix(bytes.TrimSpace(event), beforeType)
	name, object, found := bytes.Cut(rest, beforeObject)
	object, ends := bytes.CutSuffix(object, []byte("}"))
	return watch.EventType(name), object, begins && found && ends
}

// line returns the next line that is not blank. It is good until the next call.
func (d *decoder) line() ([]byte, error) {
	for {
		line, err := d.events.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			line, err = d.rest(line)
		}
		blank := len(bytes.TrimSpace(line)) == 0
		switch {
		case err == nil && !blank:
			return line, nil
		case errors.Is(err, io.EOF) && !blank:
			return nil, io.ErrUnexpectedEOF // cut off on its way
		case err != nil:
			return nil, err
		}
	}
}

// rest reads a line to its end that is longer than the buffer.
func (d *decoder) rest(begin []byte) ([]byte, error) {
	d.long = append(d.long[:0], begin...)
	for {
		more, err := d.events.ReadSlice('\n')
		d.long = append(d.long, more...)
		switch {
		case len(d.long) > maxEvent:
			return nil, fmt.Errorf("unable to decode watch event: longer than %d bytes", maxEvent)
		case !errors.Is(err, bufio.ErrBufferFull):
			return d.long, err
		}
	}
}
