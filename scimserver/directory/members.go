package directory

import (
	"context"
	"iter"
	"slices"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/membership"
	"github.com/scim-operator/scim-operator/scimserver/protocol"
)

const (
	// readOneByOne is how many users are read by their ids; more are looked for in a list of all.
	readOneByOne = 256
	readAtOnce   = 16
	usersPerPage = 500
)

// Members returns the members of a group just read, in the order of their ids: those that are users of the App and visible,
// with the userName as display. Members are read live. The userNames come from memory where the user is there. The error is
// *UnavailableError where the API server cannot be read.
func (d *Directory) Members(ctx context.Context, group *v1alpha1.Group) ([]protocol.Member, error) {
	ids, _, err := d.membership(group.Namespace).Members(ctx, group)
	if err != nil {
		return nil, asGroupClientSees(err, group.Name)
	}
	app := types.NamespacedName{Namespace: group.Namespace, Name: group.Spec.App}
	names, err := d.userNames(ctx, app, ids)
	if err != nil {
		return nil, asGroupClientSees(err, group.Name)
	}
	return withNames(ids, names), nil
}

// CachedMembers returns the members of a group as they are in memory, in the order of their ids.
func (d *Directory) CachedMembers(group *v1alpha1.Group) []protocol.Member {
	ids := d.members.Members(nameOf(group))
	names, _ := d.users.names(types.NamespacedName{Namespace: group.Namespace, Name: group.Spec.App}, ids)
	return withNames(ids, names)
}

// withNames leaves those out that have no name.
func withNames(ids, names []string) []protocol.Member {
	members := make([]protocol.Member, 0, len(ids))
	for i, id := range ids {
		if names[i] != "" {
			members = append(members, protocol.Member{ID: id, Display: names[i]})
		}
	}
	return members
}

// names returns the userNames of the App's visible users with these ids, "" where there is none in memory, and how many
// there are not.
func (m *readModel) names(app types.NamespacedName, ids []string) (names []string, missing int) {
	names = make([]string, len(ids))
	m.mu.RLock()
	defer m.mu.RUnlock()
	for i, id := range ids {
		entry := m.users[types.NamespacedName{Namespace: app.Namespace, Name: id}]
		if entry != nil && entry.visible() && entry.app.Value() == app {
			names[i] = entry.userName
		} else {
			missing++
		}
	}
	return names, missing
}

// userNames returns the userNames of the App's visible users with these ids, "" for an id that is no such user. It asks the
// API server before it reports one as no user.
func (d *Directory) userNames(ctx context.Context, app types.NamespacedName, ids []string) ([]string, error) {
	names, missing := d.users.names(app, ids)
	if missing == 0 {
		return names, nil
	}
	asked := make([]int, 0, missing)
	for i, id := range ids {
		if names[i] == "" && len(validation.IsDNS1123Subdomain(id)) == 0 {
			asked = append(asked, i)
		}
	}
	if len(asked) > readOneByOne {
		return names, d.namesByList(ctx, app, ids, names, asked)
	}
	of := &v1alpha1.App{}
	of.Namespace, of.Name = app.Namespace, app.Name
	return names, readEach(ctx, asked, func(ctx context.Context, i int) error {
		user, err := d.readUser(ctx, of, ids[i])
		if user != nil {
			names[i] = user.Spec.UserName
			d.wrote(user)
		}
		return err
	})
}

// namesByList looks for many users in one live list of the App's.
func (d *Directory) namesByList(ctx context.Context, app types.NamespacedName, ids, names []string, asked []int) error {
	wanted := make(map[string]int, len(asked))
	for _, i := range asked {
		wanted[ids[i]] = i
	}
	for next := ""; ; {
		page := &v1alpha1.UserList{}
		err := d.live.List(ctx, page, client.InNamespace(app.Namespace), client.MatchingFields{"spec.app": app.Name},
			client.Limit(usersPerPage), client.Continue(next))
		if err != nil {
			return err
		}
		found := make([]int, 0, len(page.Items))
		for n := range page.Items {
			if _, ok := wanted[page.Items[n].Name]; ok && page.Items[n].DeletionTimestamp == nil {
				found = append(found, n)
			}
		}
		err = readEach(ctx, found, func(ctx context.Context, n int) error {
			user := page.Items[n].DeepCopy()
			effective, err := d.effective(ctx, user)
			if effective {
				names[wanted[user.Name]] = user.Spec.UserName
				d.wrote(user)
			}
			return err
		})
		if next = page.Continue; err != nil || next == "" {
			return err
		}
	}
}

func readEach(ctx context.Context, indexes []int, read func(context.Context, int) error) error {
	workers, ctx := errgroup.WithContext(ctx)
	workers.SetLimit(readAtOnce)
	for _, i := range indexes {
		workers.Go(func() error { return read(ctx, i) })
	}
	return workers.Wait()
}

// indexedMembers are a group's members in memory, for filters.
type indexedMembers struct {
	directory *Directory
	group     *v1alpha1.Group
}

func (s indexedMembers) Member(id string) (protocol.Member, bool) {
	if !s.directory.members.Contains(nameOf(s.group), id) {
		return protocol.Member{}, false
	}
	names, missing := s.directory.users.names(types.NamespacedName{Namespace: s.group.Namespace, Name: s.group.Spec.App}, []string{id})
	return protocol.Member{ID: id, Display: names[0]}, missing == 0
}

func (s indexedMembers) All() iter.Seq[protocol.Member] {
	return slices.Values(s.directory.CachedMembers(s.group))
}

// liveMembers are a group's members as they are, for filters. err tells what kept it from finding out.
type liveMembers struct {
	directory *Directory
	ctx       context.Context
	app       *v1alpha1.App
	group     *v1alpha1.Group
	err       error
}

func (s *liveMembers) Member(id string) (protocol.Member, bool) {
	if !s.contains(id) {
		return protocol.Member{}, false
	}
	names, err := s.directory.userNames(s.ctx, appName(s.app), []string{id})
	if err != nil {
		s.err = err
		return protocol.Member{}, false
	}
	return protocol.Member{ID: id, Display: names[0]}, names[0] != ""
}

func (s *liveMembers) contains(id string) bool {
	found, err := s.directory.membership(s.group.Namespace).Contains(s.ctx, s.group, id)
	if err != nil {
		s.err = err
	}
	return found
}

func (s *liveMembers) All() iter.Seq[protocol.Member] {
	members, err := s.directory.Members(s.ctx, s.group)
	if err != nil {
		s.err = err
	}
	return slices.Values(members)
}

// membership returns the protocol of members in one namespace.
func (d *Directory) membership(namespace string) *membership.Protocol {
	return membership.New(membership.NewStore(d.live, namespace, func(shard *v1alpha1.MemberShard) { d.members.PutShard(shard) }), d.inlineLimit)
}
