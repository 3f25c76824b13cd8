package bystander

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/config"
	"github.com/scim-operator/scim-operator/hack/localoperator"
)

const (
	// foreignGroup is of kinds that the operator knows nothing of.
	foreignGroup = "foreign.example.com"
	definitions  = "crd/bases"
	// floorWriters bounds the writes under way at a time.
	floorWriters = 16
)

// foreignResources are the kinds of this project with fields that foreign kinds have.
var foreignResources = []string{"apps", "users", "nameclaims"}

// ForeignKinds defines what ForeignEdits and ForeignWrites write: kinds of another group with the fields of App, User and NameClaim and without
// any rule of this project. It returns when the API server serves them; they may be there already.
// Errors are the API server's.
func (t *Tenant) ForeignKinds(ctx context.Context) error {
	objects, err := localoperator.ReadObjects(config.FS, definitions)
	if err != nil {
		return err
	}
	found := 0
	for _, object := range objects {
		resource, _, _ := unstructured.NestedString(object.Object, "spec", "names", "plural")
		if !slices.Contains(foreignResources, resource) {
			continue
		}
		found++
		foreign := &unstructured.Unstructured{Object: map[string]any{}}
		foreign.SetGroupVersionKind(object.GroupVersionKind())
		foreign.SetName(resource + "." + foreignGroup)
		spec, _, err := unstructured.NestedMap(object.Object, "spec")
		if err != nil {
			return err
		}
		spec["group"] = foreignGroup
		foreign.Object["spec"] = withoutRules(spec)
		unstructured.RemoveNestedField(foreign.Object, "spec", "names", "categories")
		unstructured.RemoveNestedField(foreign.Object, "spec", "names", "shortNames")
		if err := t.Admin.Create(ctx, foreign); err != nil && !apierrors.IsAlreadyExists(err) {
			return err
		}
		list := &unstructured.UnstructuredList{}
		kind, _, _ := unstructured.NestedString(object.Object, "spec", "names", "kind")
		list.SetGroupVersionKind(ForeignKind(kind))
		if err := t.poll(ctx, setupTimeout, "a foreign kind", func(ctx context.Context) error {
			return t.Admin.List(ctx, list, client.InNamespace(t.Namespace), client.Limit(1))
		}); err != nil {
			return err
		}
	}
	if found != len(foreignResources) {
		return fmt.Errorf("%s defines %d of %v", definitions, found, foreignResources)
	}
	return nil
}

// ForeignKind names the kind that ForeignKinds defines after one of this project.
func ForeignKind(kind string) schema.GroupVersionKind {
	return schema.GroupVersionKind{Group: foreignGroup, Version: v1alpha1.GroupVersion.Version, Kind: kind}
}

// withoutRules takes the expressions that validate an object out of its schema.
func withoutRules(of map[string]any) map[string]any {
	maps.DeleteFunc(of, func(key string, _ any) bool { return key == "x-kubernetes-validations" })
	for key, value := range of {
		of[key] = withoutRulesIn(value)
	}
	return of
}

func withoutRulesIn(value any) any {
	switch value := value.(type) {
	case map[string]any:
		return withoutRules(value)
	case []any:
		for i := range value {
			value[i] = withoutRulesIn(value[i])
		}
	}
	return value
}

// ForeignEdits sends the same edits to an object of a kind with the fields of App that the operator knows nothing of: what they cost the
// API server, etcd and the machine whatever an operator makes of them.
func (t *Tenant) ForeignEdits(edit Edit) Attack {
	return func(ctx context.Context) error {
		spec := t.App.Spec.DeepCopy()
		foreign := &unstructured.Unstructured{}
		foreign.SetGroupVersionKind(ForeignKind("App"))
		foreign.SetNamespace(t.Namespace)
		foreign.SetName(t.App.Name)
		for i := 0; ctx.Err() == nil; i++ {
			edit(i, t.Namespace, spec)
			if err := t.writeForeign(ctx, foreign, spec); err != nil && ctx.Err() == nil {
				return fmt.Errorf("edit %d of a foreign object: %w", i, err)
			}
			sleep(ctx, editEvery)
		}
		return nil
	}
}

func (t *Tenant) writeForeign(ctx context.Context, foreign *unstructured.Unstructured, spec *v1alpha1.AppSpec) error {
	fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(spec)
	if err != nil {
		return err
	}
	err = t.Admin.Get(ctx, client.ObjectKeyFromObject(foreign), foreign)
	foreign.Object["spec"] = fields
	if apierrors.IsNotFound(err) {
		return t.Admin.Create(ctx, foreign)
	}
	if err != nil {
		return err
	}
	return t.Admin.Update(ctx, foreign)
}

// ForeignWrites creates objects of a kind with the fields of User that the operator knows nothing of, so many a second of so many bytes.
func (t *Tenant) ForeignWrites(perSecond float64, bytes int) Attack {
	return func(ctx context.Context) error {
		begun := time.Now()
		return parallel(ctx, floorWriters, func(ctx context.Context, next func() int) error {
			for ctx.Err() == nil {
				number := next()
				sleep(ctx, time.Until(begun.Add(time.Duration(float64(number)/perSecond*float64(time.Second)))))
				if err := t.Admin.Create(ctx, t.foreignUser(bytes)); err != nil && ctx.Err() == nil {
					return fmt.Errorf("write %d of a foreign object: %w", number, err)
				}
			}
			return nil
		})
	}
}

func (t *Tenant) foreignUser(bytes int) *unstructured.Unstructured {
	user := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{
		"app": t.App.Name, "userName": "foreign@example.com", "userNameKey": "foreign@example.com", "active": true,
		"extensions": map[string]any{"urn:example:note": map[string]any{"note": strings.Repeat("x", bytes)}},
	}}}
	user.SetGroupVersionKind(ForeignKind("User"))
	user.SetNamespace(t.Namespace)
	user.SetGenerateName("foreign-")
	return user
}
