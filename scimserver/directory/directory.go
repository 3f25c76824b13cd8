package directory

import (
	"context"
	"sync"

	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/informers"
	"github.com/scim-operator/scim-operator/internal/membership"
	"github.com/scim-operator/scim-operator/scimserver/protocol"
)

// Directory is the users and groups of all Apps. Make one with New, run it with Start.
//
// Groups and Apps that its methods return are shared with the read model: not to be changed.
type Directory struct {
	Users  *Users
	Groups *Groups

	apps    *apps
	members *memberships
	synced  []toolscache.InformerSynced
}

// The server writes the directory, and no status of it.
//
// +kubebuilder:rbac:groups=scim-operator.io,resources=users;groups;membershards,verbs=get;list;watch;create;update;delete,roleName=scim-operator-server
// +kubebuilder:rbac:groups=scim-operator.io,resources=nameclaims,verbs=get;create;update;delete,roleName=scim-operator-server
// +kubebuilder:rbac:groups=scim-operator.io,resources=apps,verbs=get;list;watch,roleName=scim-operator-server

// New returns a Directory. live must not read from a cache, nor limit its own rate. informers must transform objects by
// Compact, and watch Users, Groups, MemberShards and Apps in every namespace served. They need not run yet. It fails where
// an informer cannot be had from informers.
func New(ctx context.Context, live client.Client, informers cache.Cache) (*Directory, error) {
	d, err := newDirectory(live)
	if err != nil {
		return nil, err
	}
	if err := d.follow(ctx, informers); err != nil {
		return nil, err
	}
	return d, nil
}

// newDirectory returns a Directory that nothing feeds yet.
func newDirectory(live client.Client) (*Directory, error) {
	schemas, err := protocol.NewGroupSchemas()
	if err != nil {
		return nil, err
	}
	live = admitted{live}
	d := &Directory{apps: &apps{}, members: &memberships{live: live, index: membership.NewIndex(), inlineLimit: membership.InlineLimit}}
	d.Users = newUsers(live, d.apps, d.members)
	d.Groups = newGroups(live, schemas, d.members)
	d.members.users, d.members.groups = d.Users.collection, d.Groups.model
	return d, nil
}

// follow feeds what is kept of users, groups, their members and Apps from the cache's informers.
func (d *Directory) follow(ctx context.Context, from cache.Cache) error {
	var err error
	d.synced, err = informers.Feed(ctx,
		informers.Of(from, &v1alpha1.User{}, informers.States(d.Users.onUserEvent, d.Users.onUserDelete)),
		informers.Of(from, &v1alpha1.App{}, informers.States(d.apps.put, d.apps.remove)),
		informers.Of(from, &v1alpha1.Group{}, informers.States(d.Groups.onGroupEvent, d.Groups.onGroupDelete)),
		informers.Of(from, &v1alpha1.MemberShard{}, informers.States(d.members.putShard, d.members.index.RemoveShard)),
	)
	return err
}

// Start verifies the claims of new users and groups until ctx ends. A list shows a user or group only after that. It runs in
// every replica. It returns nil.
func (d *Directory) Start(ctx context.Context) error {
	var running sync.WaitGroup
	running.Go(func() { d.Users.verifyAll(ctx, userVerifyWorkers) })
	running.Go(func() { d.Groups.verifyAll(ctx, groupVerifyWorkers) })
	running.Wait()
	return nil
}

// NeedLeaderElection says that every replica runs a Directory.
func (d *Directory) NeedLeaderElection() bool { return false }

// Synced says whether the read model has seen every User, Group and App that there was when it began.
func (d *Directory) Synced() bool {
	for _, synced := range d.synced {
		if !synced() {
			return false
		}
	}
	return true
}

// App returns an App as the watch last told. It is shared: not to be changed.
func (d *Directory) App(name types.NamespacedName) (*v1alpha1.App, bool) {
	state := d.apps.get(name)
	if state == nil {
		return nil, false
	}
	return state.app, true
}

// NamesOf returns the names that a user or group of the App has in memory, by attribute; nil where there is none.
func (d *Directory) NamesOf(app *v1alpha1.App, endpoint, id string) map[string]string {
	name := types.NamespacedName{Namespace: app.Namespace, Name: id}
	if endpoint == "Groups" {
		if e := d.Groups.model.get(name); e != nil && e.app.Value() == appName(app) {
			return map[string]string{"displayName": e.group.Spec.DisplayName}
		}
		return nil
	}
	e := d.Users.model.get(name)
	if e == nil || e.app.Value() != appName(app) {
		return nil
	}
	names := map[string]string{"userName": e.userName}
	if e.externalID != "" {
		names["externalId"] = e.externalID
	}
	return names
}

func appName(app *v1alpha1.App) types.NamespacedName {
	return types.NamespacedName{Namespace: app.Namespace, Name: app.Name}
}
