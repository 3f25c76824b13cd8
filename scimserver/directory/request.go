package directory

import (
	"context"
	"time"

	"github.com/go-logr/logr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

type requestKey struct{}

// WithRequest returns a context that carries the id of the client's request. A write with it leaves the id on the user or group
// that it changes, so that the effects of a change can be traced to the request.
func WithRequest(ctx context.Context, id string) context.Context {
	return context.WithValue(ctx, requestKey{}, id)
}

func requestID(ctx context.Context) string {
	id, _ := ctx.Value(requestKey{}).(string)
	return id
}

// noteDeletion leaves the id of the request on an object that is about to be deleted, so that the loss of access that follows can
// be traced to it. Without it the object is deleted all the same. The object gets the resourceVersion of the write; generation and
// meta.version stay.
func noteDeletion(ctx context.Context, live client.Client, object client.Object) {
	id := requestID(ctx)
	if id == "" || object.GetDeletionTimestamp() != nil {
		return
	}
	noted := object.DeepCopyObject().(client.Object)
	annotations := noted.GetAnnotations()
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations[v1alpha1.AnnotationDeletedBy] = id + " " + time.Now().UTC().Format(time.RFC3339Nano)
	noted.SetAnnotations(annotations)
	if err := live.Update(ctx, noted); err != nil {
		logr.FromContextOrDiscard(ctx).V(1).Info("Deletes without a note of the request", "object", object.GetName(), "error", err.Error())
		return
	}
	object.SetAnnotations(annotations)
	object.SetResourceVersion(noted.GetResourceVersion())
}
