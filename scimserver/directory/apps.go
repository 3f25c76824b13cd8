package directory

import (
	"slices"
	"sync"

	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/types"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/attributes"
	"github.com/scim-operator/scim-operator/scimserver/protocol"
)

// apps holds every App as the informer last told, each with the schemas that its attributes make.
type apps struct {
	mu   sync.RWMutex
	held map[types.NamespacedName]*appState
}

type appState struct {
	app     *v1alpha1.App
	schemas *protocol.SchemaSet
}

func (a *apps) put(app *v1alpha1.App) {
	a.mu.Lock()
	defer a.mu.Unlock()
	name := appName(app)
	state := &appState{app: app}
	// An edit that leaves the schemas alone keeps them, and with them what was rendered: no user is rendered anew.
	if old := a.held[name]; old != nil && old.app.UID == app.UID && apiequality.Semantic.DeepEqual(old.app.Spec.Attributes, app.Spec.Attributes) {
		state.schemas = old.schemas
	} else {
		state.schemas = SchemasOf(app)
	}
	if a.held == nil {
		a.held = map[types.NamespacedName]*appState{}
	}
	a.held[name] = state
}

func (a *apps) remove(app *v1alpha1.App) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.held, appName(app))
}

func (a *apps) get(name types.NamespacedName) *appState {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return a.held[name]
}

// schemas returns what the App knows about users: RFC 7643 and the App's own attributes.
func (a *apps) schemas(app *v1alpha1.App) *protocol.SchemaSet {
	if state := a.get(appName(app)); state != nil && state.app.UID == app.UID {
		return state.schemas
	}
	return SchemasOf(app)
}

// SchemasOf returns what an App knows about users: RFC 7643 and its own attributes. It leaves out attributes that cannot be: the
// App's own status names them, and a client must not be locked out for an administrator's slip.
func SchemasOf(app *v1alpha1.App) *protocol.SchemaSet {
	refused := attributes.CheckDeclared(app.Spec.Attributes)
	custom := make([]protocol.CustomAttribute, 0, len(app.Spec.Attributes))
	for i, declared := range app.Spec.Attributes {
		if slices.ContainsFunc(refused, func(r attributes.Refused) bool { return r.Index == i }) {
			continue
		}
		custom = append(custom, protocol.CustomAttribute{
			Schema: declared.Schema,
			Attribute: protocol.Attribute{
				Name: declared.Name, Type: declared.Type, MultiValued: declared.MultiValued, Required: declared.Required,
				CanonicalValues: declared.CanonicalValues, Description: declared.Description,
			},
		})
	}
	set, err := protocol.NewUserSchemas(custom)
	if err != nil {
		// What CheckDeclared lets pass is never refused. If it were, clients would still have RFC 7643.
		set, err = protocol.NewUserSchemas(nil)
	}
	if err != nil {
		// RFC 7643 itself was refused: there is no input that does this.
		panic(err)
	}
	return set
}
