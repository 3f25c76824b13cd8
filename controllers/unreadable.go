package controllers

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"

	"github.com/scim-operator/scim-operator/internal/clip"
	"github.com/scim-operator/scim-operator/internal/informers"
)

// maxEventNote is the API server's limit of an Event's note, in bytes, less some room.
const maxEventNote = 900

// unreadableEvents tells by an Event of each object that cannot be read, while this process leads. No condition can: what writes a
// status reads the object first.
type unreadableEvents struct {
	watches  *informers.Watches
	recorder events.EventRecorder
}

// Start runs until ctx ends, and returns nil.
func (e *unreadableEvents) Start(ctx context.Context) error {
	e.watches.Tell(func(u informers.UnreadableError) {
		object := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Namespace: u.Name.Namespace, Name: u.Name.Name, UID: u.UID}}
		object.SetGroupVersionKind(u.Kind)
		e.recorder.Eventf(object, nil, corev1.EventTypeWarning, "Unreadable", "Read", "%s",
			clip.Text("It grants and opens nothing until it is mended: "+u.Error(), maxEventNote))
	})
	<-ctx.Done()
	return nil
}
