package approlebinding

import (
	"context"
	"maps"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/controllers/approlebinding/overlay"
)

// objects are what exists of a key while a run writes it: as the plan found it, and then as written. One mutex guards both
// maps; the objects themselves are not changed.
type objects struct {
	mutex    sync.Mutex
	natives  map[overlay.ID]native
	bindings map[int32]*v1alpha1.AppRoleBinding
}

func newObjects(p *plan) *objects {
	o := &objects{natives: maps.Clone(p.natives), bindings: map[int32]*v1alpha1.AppRoleBinding{}}
	for i := range p.chunks {
		if c := &p.chunks[i]; c.Existing != nil {
			o.bindings[c.Index] = c.Existing
		}
	}
	return o
}

// native returns a native binding, and whether it is there.
func (o *objects) native(id overlay.ID) (native, bool) {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	existing, found := o.natives[id]
	return existing, found
}

// setNative records what a write made of a native binding; nil for gone.
func (o *objects) setNative(id overlay.ID, object client.Object) {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	if object == nil {
		delete(o.natives, id)
		return
	}
	o.natives[id] = nativeOf(object)
}

// allNatives returns a copy.
func (o *objects) allNatives() map[overlay.ID]native {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	return maps.Clone(o.natives)
}

// binding returns the AppRoleBinding of a chunk; nil for none.
func (o *objects) binding(index int32) *v1alpha1.AppRoleBinding {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	return o.bindings[index]
}

// setBinding records what a write made of the AppRoleBinding of a chunk; nil for gone.
func (o *objects) setBinding(index int32, binding *v1alpha1.AppRoleBinding) {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	if binding == nil {
		delete(o.bindings, index)
		return
	}
	o.bindings[index] = binding
}

// liveReader reads single objects from the API server.
type liveReader struct{ client.Reader }

// native returns a native binding as it is now; nil for none.
func (l liveReader) native(ctx context.Context, id overlay.ID) (client.Object, error) {
	object := emptyNative(id)
	err := l.Get(ctx, client.ObjectKeyFromObject(object), object)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	return object, err
}

// binding returns an AppRoleBinding of that name as it is now; nil for none.
func (l liveReader) binding(ctx context.Context, binding *v1alpha1.AppRoleBinding) (*v1alpha1.AppRoleBinding, error) {
	live := &v1alpha1.AppRoleBinding{}
	err := l.Get(ctx, client.ObjectKeyFromObject(binding), live)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	return live, err
}
