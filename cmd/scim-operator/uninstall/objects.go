package uninstall

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// guardFinalizer keeps the policy that guards the CustomResourceDefinitions, and its binding (config/crd/guard.yaml).
const guardFinalizer = v1alpha1.GroupName + "/guard"

// kinds of objects, in the order of their deletion: what people declared first, so that nothing is derived from it
// any more; names last, so that none becomes free while its holder is there.
var kinds = []string{"App", "OAuthGrant", "ScimToken", "AppRoleBinding", "Group", "MemberShard", "User", "RevocationList", "NameClaim"}

// deleteObjects deletes every object of the operator's kinds, past the operator's own finalizers: what they wait for is done.
// An object that another finalizer holds remains, and is told.
func (u *Uninstaller) deleteObjects(ctx context.Context) (string, error) {
	var done []string
	for _, kind := range kinds {
		count, err := u.deleteKind(ctx, kind)
		if err != nil {
			return "", err
		}
		if count > 0 {
			done = append(done, counted(count, kind))
		}
	}
	if len(done) == 0 {
		return "there were none", nil
	}
	return strings.Join(done, ", ") + " deleted", nil
}

func (u *Uninstaller) deleteKind(ctx context.Context, kind string) (count int, err error) {
	begun, told := time.Now(), time.Now()
	err = u.eachOf(ctx, kind, func(page []metav1.PartialObjectMetadata) error {
		err := inParallel(ctx, page, func(ctx context.Context, object metav1.PartialObjectMetadata) error {
			return u.deleteObject(ctx, &object)
		})
		count += len(page)
		if time.Since(told) > 5*time.Second {
			u.say("      %s so far, after %s", counted(count, kind), time.Since(begun).Round(time.Second))
			told = time.Now()
		}
		return err
	})
	if err != nil {
		return count, err
	}
	return count, u.eachOf(ctx, kind, func(page []metav1.PartialObjectMetadata) error {
		for i := range page {
			u.remain("%s %s/%s%s", kind, page[i].Namespace, page[i].Name, heldBy(&page[i]))
		}
		return nil
	})
}

// eachOf calls f with all objects of a kind, page by page; with none where the kind is not installed.
func (u *Uninstaller) eachOf(ctx context.Context, kind string, f func([]metav1.PartialObjectMetadata) error) error {
	next := ""
	for {
		list := &metav1.PartialObjectMetadataList{}
		list.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(kind + "List"))
		err := u.client.List(ctx, list, client.Limit(pageSize), client.Continue(next))
		if apierrors.IsResourceExpired(err) { // it was listed for so long that etcd has forgotten that state
			next = ""
			continue
		}
		if err != nil {
			return ignoreUnknownKind(err)
		}
		for i := range list.Items {
			list.Items[i].SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(kind))
		}
		if err := f(list.Items); err != nil {
			return err
		}
		if next = list.Continue; next == "" {
			return nil
		}
	}
}

// deleteObject deletes one object and takes the operator's finalizers off it.
func (u *Uninstaller) deleteObject(ctx context.Context, object *metav1.PartialObjectMetadata) error {
	if object.DeletionTimestamp.IsZero() {
		if err := u.client.Delete(ctx, object, client.PropagationPolicy(metav1.DeletePropagationBackground)); err != nil {
			return client.IgnoreNotFound(u.describe("delete", object, err))
		}
	}
	for {
		foreign := slices.DeleteFunc(slices.Clone(object.Finalizers), isOwnFinalizer)
		if len(foreign) == len(object.Finalizers) {
			return nil
		}
		before := object.DeepCopy()
		object.Finalizers = foreign
		err := u.client.Patch(ctx, object, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}))
		if !apierrors.IsConflict(err) {
			return client.IgnoreNotFound(u.describe("take the operator's finalizer off", object, err))
		}
		if err := u.client.Get(ctx, client.ObjectKeyFromObject(object), object); err != nil {
			return client.IgnoreNotFound(err)
		}
	}
}

func (u *Uninstaller) describe(what string, object *metav1.PartialObjectMetadata, err error) error {
	if err == nil || apierrors.IsNotFound(err) {
		return err
	}
	return fmt.Errorf("%s %s %s: %w", what, object.Kind, strings.TrimPrefix(object.Namespace+"/"+object.Name, "/"), err)
}

func isOwnFinalizer(name string) bool {
	return name == v1alpha1.FinalizerAccess || name == v1alpha1.FinalizerApp || name == v1alpha1.FinalizerBindings || name == guardFinalizer
}

// deleteDefinitions deletes the CustomResourceDefinitions of kinds that have no object any more, as the guard asks for it.
// The deletion of one with held objects would hang, and hide them.
func (u *Uninstaller) deleteDefinitions(ctx context.Context) (string, error) {
	var definitions apiextensionsv1.CustomResourceDefinitionList
	if err := u.client.List(ctx, &definitions); err != nil {
		return "", err
	}
	deleted := 0
	for i := range definitions.Items {
		definition := &definitions.Items[i]
		if definition.Spec.Group != v1alpha1.GroupName {
			continue
		}
		objects := 0
		if err := u.eachOf(ctx, definition.Spec.Names.Kind, func(page []metav1.PartialObjectMetadata) error {
			objects += len(page)
			return nil
		}); err != nil {
			return "", err
		}
		if objects > 0 {
			u.remain("CustomResourceDefinition %s, for %s", definition.Name, counted(objects, definition.Spec.Names.Kind))
			continue
		}
		if err := u.deleteDefinition(ctx, definition); err != nil {
			return "", err
		}
		deleted++
	}
	return counted(deleted, "CustomResourceDefinition") + " deleted", nil
}

func (u *Uninstaller) deleteDefinition(ctx context.Context, definition *apiextensionsv1.CustomResourceDefinition) error {
	if definition.Annotations[v1alpha1.AnnotationAllowDeletion] != "true" {
		before := definition.DeepCopy()
		metav1.SetMetaDataAnnotation(&definition.ObjectMeta, v1alpha1.AnnotationAllowDeletion, "true")
		if err := u.client.Patch(ctx, definition, client.MergeFrom(before)); err != nil {
			return fmt.Errorf("annotate CustomResourceDefinition %s for its deletion: %w", definition.Name, err)
		}
	}
	if err := u.client.Delete(ctx, definition); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("delete CustomResourceDefinition %s: %w", definition.Name, err)
	}
	gone, err := u.until(ctx, func(ctx context.Context) (bool, error) {
		err := u.client.Get(ctx, client.ObjectKeyFromObject(definition), &apiextensionsv1.CustomResourceDefinition{})
		return apierrors.IsNotFound(err), client.IgnoreNotFound(err)
	})
	if err == nil && !gone {
		err = fmt.Errorf("CustomResourceDefinition %s is still being deleted after %s%s", definition.Name, u.patience, heldBy(definition))
	}
	return err
}

// installed are the kinds of which config/ and the chart install objects, in the order of their deletion. Bindings of
// policies go before the policies; the guard of the CustomResourceDefinitions is among them, and they are gone by then.
var installed = []schema.GroupVersionKind{
	{Group: "apps", Version: "v1", Kind: "Deployment"},
	{Group: "policy", Version: "v1", Kind: "PodDisruptionBudget"},
	{Group: "networking.k8s.io", Version: "v1", Kind: "NetworkPolicy"},
	{Group: "", Version: "v1", Kind: "Service"},
	{Group: "admissionregistration.k8s.io", Version: "v1", Kind: "ValidatingAdmissionPolicyBinding"},
	{Group: "admissionregistration.k8s.io", Version: "v1", Kind: "ValidatingAdmissionPolicy"},
	{Group: "flowcontrol.apiserver.k8s.io", Version: "v1", Kind: "FlowSchema"},
	{Group: "flowcontrol.apiserver.k8s.io", Version: "v1", Kind: "PriorityLevelConfiguration"},
	{Group: "scheduling.k8s.io", Version: "v1", Kind: "PriorityClass"},
	{Group: "rbac.authorization.k8s.io", Version: "v1", Kind: "RoleBinding"},
	{Group: "rbac.authorization.k8s.io", Version: "v1", Kind: "ClusterRoleBinding"},
	{Group: "rbac.authorization.k8s.io", Version: "v1", Kind: "Role"},
	{Group: "rbac.authorization.k8s.io", Version: "v1", Kind: "ClusterRole"},
	{Group: "", Version: "v1", Kind: "ServiceAccount"},
	{Group: "", Version: "v1", Kind: "Namespace"},
}

// deleteInstallation deletes what is labelled as part of the operator, unless objects remain: the policies guard them.
func (u *Uninstaller) deleteInstallation(ctx context.Context) (string, error) {
	if len(u.remains) > 0 {
		u.remain("policies, RBAC and Deployments, as long as anything above does: the policies guard it")
		return "left in place", nil
	}
	deleted := 0
	var guards []*metav1.PartialObjectMetadata
	for _, kind := range installed {
		list := &metav1.PartialObjectMetadataList{}
		list.SetGroupVersionKind(kind)
		list.Kind += "List"
		if err := u.client.List(ctx, list, ofInstallation()); err != nil {
			return "", fmt.Errorf("list every %s: %w", kind.Kind, err)
		}
		for i := range list.Items {
			object := &list.Items[i]
			object.SetGroupVersionKind(kind)
			if slices.Contains(object.Finalizers, guardFinalizer) {
				guards = append(guards, object)
				continue
			}
			if err := u.deleteObject(ctx, object); err != nil {
				return "", err
			}
			deleted++
		}
	}
	// The guard of the CustomResourceDefinitions goes last. Its finalizer has kept it from going any sooner.
	for _, guard := range guards {
		if err := u.deleteObject(ctx, guard); err != nil {
			return "", err
		}
	}
	return counted(deleted+len(guards), "object") + " deleted", nil
}

// inParallel calls f for each element, some at a time, until one fails.
func inParallel[T any](ctx context.Context, elements []T, f func(context.Context, T) error) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(workers)
	for _, element := range elements {
		group.Go(func() error { return f(ctx, element) })
	}
	return group.Wait()
}
