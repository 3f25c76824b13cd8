// Package ownstatus makes clients that show no status which was written for another object: a tool for backups that restores statuses
// puts them on objects that are new, of which they prove nothing. Informers leave such statuses out by themselves (internal/informers).
package ownstatus

import (
	"context"

	"sigs.k8s.io/controller-runtime/pkg/client"
)

// holder is an object, or a list, that can tell whether its statuses are its own.
type holder interface{ DropForeignStatus() }

// Drop empties, of an object or of those of a list, a status that was written for another object, where the kind has such.
func Drop(object any) {
	if holder, ok := object.(holder); ok {
		holder.DropForeignStatus()
	}
}

// Client returns a client like another one. It empties the statuses of other objects in each answer that has objects, those to writes
// included: v1alpha1.User.DropForeignStatus tells how. Errors are those of the other client.
func Client(c client.Client) client.Client { return reader{c} }

type reader struct{ client.Client }

// Get implements client.Reader.
func (c reader) Get(ctx context.Context, key client.ObjectKey, object client.Object, options ...client.GetOption) error {
	err := c.Client.Get(ctx, key, object, options...)
	Drop(object)
	return err
}

// List implements client.Reader.
func (c reader) List(ctx context.Context, list client.ObjectList, options ...client.ListOption) error {
	err := c.Client.List(ctx, list, options...)
	Drop(list)
	return err
}

// Create implements client.Writer.
func (c reader) Create(ctx context.Context, object client.Object, options ...client.CreateOption) error {
	err := c.Client.Create(ctx, object, options...)
	Drop(object)
	return err
}

// Update implements client.Writer.
func (c reader) Update(ctx context.Context, object client.Object, options ...client.UpdateOption) error {
	err := c.Client.Update(ctx, object, options...)
	Drop(object)
	return err
}

// Patch implements client.Writer.
func (c reader) Patch(ctx context.Context, object client.Object, patch client.Patch, options ...client.PatchOption) error {
	err := c.Client.Patch(ctx, object, patch, options...)
	Drop(object)
	return err
}

// Status implements client.StatusClient.
func (c reader) Status() client.SubResourceWriter { return statusWriter{c.Client.Status()} }

// SubResource implements client.SubResourceClientConstructor.
func (c reader) SubResource(name string) client.SubResourceClient {
	return subResource{c.Client.SubResource(name)}
}

type statusWriter struct{ client.SubResourceWriter }

// Update implements client.SubResourceWriter.
func (w statusWriter) Update(ctx context.Context, object client.Object, options ...client.SubResourceUpdateOption) error {
	err := w.SubResourceWriter.Update(ctx, object, options...)
	Drop(object)
	return err
}

// Patch implements client.SubResourceWriter.
func (w statusWriter) Patch(ctx context.Context, object client.Object, patch client.Patch, options ...client.SubResourcePatchOption) error {
	err := w.SubResourceWriter.Patch(ctx, object, patch, options...)
	Drop(object)
	return err
}

type subResource struct{ client.SubResourceClient }

// Update implements client.SubResourceWriter.
func (s subResource) Update(ctx context.Context, object client.Object, options ...client.SubResourceUpdateOption) error {
	return statusWriter{s.SubResourceClient}.Update(ctx, object, options...)
}

// Patch implements client.SubResourceWriter.
func (s subResource) Patch(ctx context.Context, object client.Object, patch client.Patch, options ...client.SubResourcePatchOption) error {
	return statusWriter{s.SubResourceClient}.Patch(ctx, object, patch, options...)
}
