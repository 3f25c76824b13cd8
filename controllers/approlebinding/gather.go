package approlebinding

import (
	"context"
	"maps"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/controllers/approlebinding/overlay"
	"github.com/scim-operator/scim-operator/controllers/approlebinding/packing"
	"github.com/scim-operator/scim-operator/internal/access"
	"github.com/scim-operator/scim-operator/internal/earned"
)

// manyDirty users are not looked for one by one: the run looks at everything.
const manyDirty = 1000

// gatherer reads the input of one run. It writes nothing but reviews of this process's own rights.
type gatherer struct {
	reader      bindingReader
	client      client.Client
	live        liveReader
	index       *earned.Index
	policies    *access.Cache
	unlabelled  *unlabelledBindings
	permissions *permissions
	trailers    *trailing
	input
}

// gather reads all that the run decides from. It drains the dirty users of the key; also where it fails, they are in
// input.dirty.
func (g *gatherer) gather(ctx context.Context, memoryOf func() memory) error {
	if err := g.readApp(ctx); err != nil {
		return err
	}
	bindings, err := g.reader.bindingsOf(ctx, g.key)
	if err != nil {
		return err
	}
	g.memory = memoryOf()
	g.dirty, g.trailing = g.index.DrainDirty(g.key), g.trailers.under(g.key)
	g.full = g.full || !g.memory.clean || g.memory.app != g.generation || time.Since(g.memory.lastFull) > recheckEvery ||
		len(g.dirty) > manyDirty || slices.ContainsFunc(bindings, g.isForeign)
	in, err := g.packing(ctx, bindings)
	if err != nil {
		return err
	}
	g.chunks = packing.Pack(bindings, in)
	last := int32(0)
	for i := range g.chunks {
		last = max(last, g.chunks[i].Index)
	}
	g.names = newNativeNames(g.key, last)
	if g.natives, err = g.reader.nativesOf(ctx, g.key); err != nil {
		return err
	}
	if err := g.findUnlabelled(ctx); err != nil {
		return err
	}
	if g.binds() {
		if err := g.readNamespaces(ctx); err != nil {
			return err
		}
	}
	ask := g.permissions.mayBind
	if g.leavesGrants && !g.full {
		ask = g.permissions.mightBind
	}
	g.mayBind = func(namespace string, ref rbacv1.RoleRef) (bool, error) { return ask(ctx, g.client, namespace, ref) }
	return nil
}

func (g *gatherer) readApp(ctx context.Context) error {
	app := &v1alpha1.App{}
	err := g.client.Get(ctx, client.ObjectKey{Namespace: g.key.Namespace, Name: g.key.App}, app, client.UnsafeDisableDeepCopy)
	if err != nil {
		return client.IgnoreNotFound(err)
	}
	if !app.DeletionTimestamp.IsZero() {
		return nil
	}
	g.app, g.generation = app, earned.AppGenerationOf(app, g.policies)
	policy, fieldErrors := g.policies.Compile(app)
	if len(fieldErrors) > 0 {
		g.frozen = true
		return nil
	}
	grants, found := policy.Grants(g.key.Role, g.key.Scope)
	g.policy, g.grants, g.dropped = policy, grants, !found
	return nil
}

// findUnlabelled adds native bindings of this key that the informers do not show under it, because others removed or changed
// the labels and annotations by which they are found: those that the last run left, and those that every replica follows.
// They count as any other: labelled anew where they are wanted, and removed where not. Their names, which are hashes of the
// key and the role, tell which key they belong to.
func (g *gatherer) findUnlabelled(ctx context.Context) error {
	g.input.unlabelled = map[overlay.ID]bool{}
	unseen := map[overlay.ID]bool{}
	for id := range g.memory.natives {
		unseen[id] = true
	}
	for id, ref := range g.unlabelled.all() {
		if g.names.isOwn(id, ref) {
			unseen[id] = true
		}
	}
	for _, id := range slices.SortedFunc(maps.Keys(unseen), overlay.Compare) {
		if _, shown := g.natives[id]; shown {
			continue
		}
		live, err := g.live.native(ctx, id)
		if err != nil {
			return err
		}
		if live != nil && g.names.isOwn(id, nativeOf(live).roleRef) {
			g.natives[id] = nativeOf(live)
			g.input.unlabelled[id] = true
		}
	}
	return nil
}

// readNamespaces finds out where the scope is: those of its namespaces that exist and are not being deleted.
func (g *gatherer) readNamespaces(ctx context.Context) error {
	scope, _ := g.policy.Scope(g.key.Scope)
	if scope.ClusterWide {
		g.clusterWide = true
		return nil
	}
	var names []string
	if scope.Selector != nil {
		var list metav1.PartialObjectMetadataList
		list.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("NamespaceList"))
		if err := g.client.List(ctx, &list, client.MatchingLabelsSelector{Selector: scope.Selector}, client.UnsafeDisableDeepCopy); err != nil {
			return err
		}
		for i := range list.Items {
			if list.Items[i].DeletionTimestamp.IsZero() {
				names = append(names, list.Items[i].Name)
			}
		}
		slices.Sort(names)
		g.namespaces = names
		return nil
	}
	for _, name := range scope.Namespaces {
		namespace := namespaceMetadata()
		err := g.client.Get(ctx, client.ObjectKey{Name: name}, namespace, client.UnsafeDisableDeepCopy)
		switch {
		case apierrors.IsNotFound(err):
			g.missing = append(g.missing, name)
		case err != nil:
			return err
		case namespace.DeletionTimestamp.IsZero():
			names = append(names, name)
		}
	}
	slices.Sort(names)
	g.namespaces = slices.Compact(names)
	return nil
}

// namespaceMetadata is a Namespace as the informer keeps it: nothing but metadata is needed.
func namespaceMetadata() *metav1.PartialObjectMetadata {
	namespace := &metav1.PartialObjectMetadata{}
	namespace.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Namespace"))
	return namespace
}
