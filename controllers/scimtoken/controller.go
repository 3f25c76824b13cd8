// Package scimtoken publishes which bearer tokens stand for which App: the digest of each ScimToken that its App accepts, in
// its status, where the SCIM server reads it. The server itself never sees a Secret, and holds every request against the App
// and the ScimToken as they are at that moment.
//
// A token's digest is given in the specification, read from a Secret, or that of a token which the controller makes once. A
// token that its App does not accept, or with a digest that is another App's, has none in its status. No token's text is
// logged, put into a condition or kept.
package scimtoken

import (
	"context"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/fair"
)

const (
	// labelToken marks Secrets that ScimTokens may refer to. The controller sees no others.
	labelToken = v1alpha1.GroupName + "/token"

	indexApp    = "scim.token.app"
	indexSecret = "scim.token.secret"
	indexDigest = "scim.token.digest"
	indexGrant  = "scim.token.grant"

	maxBackoff = time.Minute
)

// CacheLabel selects the Secrets that the manager's cache must hold.
func CacheLabel() labels.Selector { return labels.SelectorFromSet(labels.Set{labelToken: "true"}) }

// Reconciler of ScimTokens.
type Reconciler struct {
	// Client reads from informers and writes.
	Client client.Client
	// Live reads from the API server.
	Live client.Reader
	// Recorder writes Events.
	Recorder events.EventRecorder

	digests registry
	enqueue func(types.NamespacedName)
}

// The finalizers are for the Secret of a generated token, which its ScimToken owns, where the API server asks for that.
//
// +kubebuilder:rbac:groups=scim-operator.io,resources=scimtokens,verbs=get;list;watch,roleName=scim-operator-controller-apps
// +kubebuilder:rbac:groups=scim-operator.io,resources=scimtokens/status,verbs=update,roleName=scim-operator-controller-apps
// +kubebuilder:rbac:groups=scim-operator.io,resources=scimtokens/finalizers,verbs=update,roleName=scim-operator-controller-apps
// +kubebuilder:rbac:groups="",resources=secrets,verbs=get;list;watch;create;delete,roleName=scim-operator-controller-apps

// Add registers the controller. The manager's cache must hold Secrets with labelToken only. It fails where the manager
// refuses the controller, an index or a watch.
func Add(ctx context.Context, mgr manager.Manager, r *Reconciler) error {
	indexer := mgr.GetFieldIndexer()
	if err := indexer.IndexField(ctx, &v1alpha1.ScimToken{}, indexApp, func(object client.Object) []string {
		return []string{object.(*v1alpha1.ScimToken).Spec.App}
	}); err != nil {
		return err
	}
	if err := indexer.IndexField(ctx, &v1alpha1.ScimToken{}, indexSecret, func(object client.Object) []string {
		if name := secretName(&object.(*v1alpha1.ScimToken).Spec); name != "" {
			return []string{name}
		}
		return nil
	}); err != nil {
		return err
	}
	if err := indexer.IndexField(ctx, &v1alpha1.ScimToken{}, indexGrant, func(object client.Object) []string {
		if grant := object.(*v1alpha1.ScimToken).Spec.Grant; grant != "" {
			return []string{grant}
		}
		return nil
	}); err != nil {
		return err
	}
	if err := indexer.IndexField(ctx, &v1alpha1.ScimToken{}, indexDigest, func(object client.Object) []string {
		return digestsOf(object.(*v1alpha1.ScimToken))
	}); err != nil {
		return err
	}
	c, err := controller.New("scimtoken", mgr, controller.Options{
		Reconciler:              r,
		MaxConcurrentReconciles: 1,
		NewQueue:                fair.ByNamespace(1),
		RateLimiter:             workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](20*time.Millisecond, maxBackoff),
	})
	if err != nil {
		return err
	}
	for _, watch := range []source.Source{
		source.Func(func(_ context.Context, q workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
			r.enqueue = func(name types.NamespacedName) { q.Add(reconcile.Request{NamespacedName: name}) }
			return nil
		}),
		source.Kind(mgr.GetCache(), &v1alpha1.ScimToken{}, r.watchTokens()),
		source.Kind(mgr.GetCache(), &corev1.Secret{}, handler.TypedEnqueueRequestsFromMapFunc(r.tokensOfSecret)),
		source.Kind(mgr.GetCache(), &v1alpha1.App{}, r.watchApps()),
		source.Kind(mgr.GetCache(), &v1alpha1.OAuthGrant{}, handler.TypedEnqueueRequestsFromMapFunc(r.tokensOfGrant)),
	} {
		if err := c.Watch(watch); err != nil {
			return err
		}
	}
	return nil
}

// digestsOf returns the digests that a token has, and the one that its specification gives it, which may differ for a moment.
func digestsOf(object *v1alpha1.ScimToken) []string {
	digests := []string{object.Status.Digest, object.Spec.Digest}
	if rotation := object.Status.Rotation; rotation != nil && rotation.Former != nil {
		digests = append(digests, rotation.Former.Digest)
	}
	digests = slices.DeleteFunc(digests, func(digest string) bool { return digest == "" })
	return slices.Compact(digests)
}

// secretName returns the Secret that a token is read from, or "".
func secretName(spec *v1alpha1.ScimTokenSpec) string {
	switch {
	case spec.SecretRef != nil:
		return spec.SecretRef.Name
	case spec.Generate != nil:
		return spec.Generate.SecretName
	}
	return ""
}

func (r *Reconciler) tokensOfSecret(ctx context.Context, secret *corev1.Secret) []reconcile.Request {
	requests := r.find(ctx, secret.Namespace, indexSecret, secret.Name)
	if name := secret.Annotations[v1alpha1.AnnotationGeneratedFor]; name != "" {
		requests = append(requests, reconcile.Request{NamespacedName: types.NamespacedName{Namespace: secret.Namespace, Name: name}})
	}
	return requests
}

func (r *Reconciler) find(ctx context.Context, namespace, index, value string) []reconcile.Request {
	var list v1alpha1.ScimTokenList
	if err := r.Client.List(ctx, &list, client.InNamespace(namespace), client.MatchingFields{index: value}, client.UnsafeDisableDeepCopy); err != nil {
		return nil // an informer's list does not fail once it is synchronised, and before that every token comes as an event
	}
	requests := make([]reconcile.Request, len(list.Items))
	for i := range list.Items {
		requests[i].NamespacedName = client.ObjectKeyFromObject(&list.Items[i])
	}
	return requests
}

// watchTokens brings back a token that changed, and those that wait for the digest of one that is gone.
func (r *Reconciler) watchTokens() handler.TypedEventHandler[*v1alpha1.ScimToken, reconcile.Request] {
	add := func(q workqueue.TypedRateLimitingInterface[reconcile.Request], name types.NamespacedName) {
		q.Add(reconcile.Request{NamespacedName: name})
	}
	return handler.TypedFuncs[*v1alpha1.ScimToken, reconcile.Request]{
		CreateFunc: func(_ context.Context, e event.TypedCreateEvent[*v1alpha1.ScimToken], q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			add(q, client.ObjectKeyFromObject(e.Object))
		},
		UpdateFunc: func(_ context.Context, e event.TypedUpdateEvent[*v1alpha1.ScimToken], q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			add(q, client.ObjectKeyFromObject(e.ObjectNew))
		},
		DeleteFunc: func(_ context.Context, e event.TypedDeleteEvent[*v1alpha1.ScimToken], q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			name := client.ObjectKeyFromObject(e.Object)
			add(q, name)
			for _, digest := range digestsOf(e.Object) {
				for _, waiting := range r.digests.claimants(name, digest) {
					add(q, waiting)
				}
			}
		},
	}
}

// watchApps brings back the tokens of an App that appears, goes, or lists other tokens; nothing else of an App concerns them.
func (r *Reconciler) watchApps() handler.TypedEventHandler[*v1alpha1.App, reconcile.Request] {
	enqueue := func(ctx context.Context, app *v1alpha1.App, q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
		for _, request := range r.find(ctx, app.Namespace, indexApp, app.Name) {
			q.Add(request)
		}
	}
	return handler.TypedFuncs[*v1alpha1.App, reconcile.Request]{
		CreateFunc: func(ctx context.Context, e event.TypedCreateEvent[*v1alpha1.App], q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			enqueue(ctx, e.Object, q)
		},
		UpdateFunc: func(ctx context.Context, e event.TypedUpdateEvent[*v1alpha1.App], q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			if e.ObjectOld.UID != e.ObjectNew.UID || !apiequality.Semantic.DeepEqual(e.ObjectOld.Spec.Tokens, e.ObjectNew.Spec.Tokens) ||
				!apiequality.Semantic.DeepEqual(e.ObjectOld.Spec.OAuth, e.ObjectNew.Spec.OAuth) {
				enqueue(ctx, e.ObjectNew, q)
			}
		},
		DeleteFunc: func(ctx context.Context, e event.TypedDeleteEvent[*v1alpha1.App], q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			enqueue(ctx, e.Object, q)
		},
	}
}

// appOf is the App that a token names.
func appOf(object *v1alpha1.ScimToken) types.NamespacedName {
	return types.NamespacedName{Namespace: object.Namespace, Name: object.Spec.App}
}
