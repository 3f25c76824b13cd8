package scimserver

import (
	"context"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/informers"
	"github.com/scim-operator/scim-operator/scimserver/oauth"
)

// grants are the OAuthGrants as the watch last told. Safe for concurrent use.
type grants struct {
	mu    sync.RWMutex
	byApp map[types.NamespacedName]map[string]*v1alpha1.OAuthGrant
	// spent has what machine clients have used.
	spent *oauth.Spent
}

func newGrants() *grants {
	return &grants{byApp: map[types.NamespacedName]map[string]*v1alpha1.OAuthGrant{}, spent: oauth.NewSpent(time.Now)}
}

// watch feeds the grants from the cache's informer, and returns what tells whether they have caught up.
func (g *grants) watch(ctx context.Context, from cache.Cache) ([]toolscache.InformerSynced, error) {
	synced, err := informers.Feed(ctx, informers.Of(from, &v1alpha1.OAuthGrant{}, informers.Changes(g.replace)))
	go func() {
		if toolscache.WaitForCacheSync(ctx.Done(), synced...) {
			g.spent.Begin()
		}
	}()
	return synced, err
}

func (g *grants) replace(before, after *v1alpha1.OAuthGrant) {
	g.spent.Observe(before, after)
	g.mu.Lock()
	defer g.mu.Unlock()
	if before != nil {
		app := types.NamespacedName{Namespace: before.Namespace, Name: before.Spec.App}
		delete(g.byApp[app], before.Name)
		if len(g.byApp[app]) == 0 {
			delete(g.byApp, app)
		}
	}
	if after == nil {
		return
	}
	app := types.NamespacedName{Namespace: after.Namespace, Name: after.Spec.App}
	if g.byApp[app] == nil {
		g.byApp[app] = map[string]*v1alpha1.OAuthGrant{}
	}
	g.byApp[app][after.Name] = after
}

// of returns the grants of an App. They are not to be changed.
func (g *grants) of(app types.NamespacedName) []*v1alpha1.OAuthGrant {
	g.mu.RLock()
	defer g.mu.RUnlock()
	all := make([]*v1alpha1.OAuthGrant, 0, len(g.byApp[app]))
	for _, grant := range g.byApp[app] {
		all = append(all, grant)
	}
	return all
}

// back says whether the grant of an issued token gives access to an App now.
func (g *grants) back(app *v1alpha1.App, token *v1alpha1.ScimToken) bool {
	g.mu.RLock()
	defer g.mu.RUnlock()
	grant := g.byApp[types.NamespacedName{Namespace: token.Namespace, Name: token.Spec.App}][token.Spec.Grant]
	return grant != nil && grant.Backs(app, token)
}
