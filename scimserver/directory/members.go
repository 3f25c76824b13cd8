package directory

import (
	"context"

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

// memberships tells which users are in which groups of all Apps, live and from memory, with the names that clients see.
type memberships struct {
	live   client.Client
	users  *collection[*v1alpha1.User, *Entry]
	groups *readModel[*groupEntry]
	index  *membership.Index
	// inlineLimit is membership.InlineLimit, but for tests.
	inlineLimit int
}

// in returns the protocol of members in one namespace.
func (m *memberships) in(namespace string) *membership.Protocol {
	return membership.New(membership.NewStore(m.live, namespace, m.index), m.inlineLimit)
}

func (m *memberships) putShard(shard *v1alpha1.MemberShard) { m.index.PutShard(shard) }

// of returns the members of a group just read. Its ids are read live; the userNames come from memory where the user is there.
func (m *memberships) of(ctx context.Context, group *v1alpha1.Group) ([]protocol.Member, error) {
	ids, _, err := m.in(group.Namespace).Members(ctx, group)
	if err != nil {
		return nil, asGroupClientSees(err, group.Name)
	}
	names, err := m.userNames(ctx, appOf(group), ids)
	if err != nil {
		return nil, asGroupClientSees(err, group.Name)
	}
	return withNames(ids, names), nil
}

// cached returns the members of a group as they are in memory, in the order of their ids.
func (m *memberships) cached(group *v1alpha1.Group) []protocol.Member {
	ids := m.index.Members(nameOf(group))
	names, _ := m.cachedNames(appOf(group), ids)
	return withNames(ids, names)
}

// versionOf is a group's version by the members and names in memory.
func (m *memberships) versionOf(group *v1alpha1.Group) version {
	return version{objectVersion(group, group.Spec.UnseenWrites), m.index.Names(nameOf(group))}
}

func appOf(group *v1alpha1.Group) types.NamespacedName {
	return types.NamespacedName{Namespace: group.Namespace, Name: group.Spec.App}
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

// cachedNames returns the userNames of the App's visible users with these ids, "" where there is none in memory, and how many
// there are not.
func (m *memberships) cachedNames(app types.NamespacedName, ids []string) (names []string, missing int) {
	names = make([]string, len(ids))
	for i, e := range m.users.model.visibleOf(app, ids) {
		if e != nil {
			names[i] = e.userName
		} else {
			missing++
		}
	}
	return names, missing
}

// userNames returns the userNames of the App's visible users with these ids, "" for an id that is no such user. It asks the
// API server before it reports one as no user.
func (m *memberships) userNames(ctx context.Context, app types.NamespacedName, ids []string) ([]string, error) {
	names, missing := m.cachedNames(app, ids)
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
		return names, m.namesByList(ctx, app, ids, names, asked)
	}
	return names, readEach(ctx, asked, func(ctx context.Context, i int) error {
		user, err := m.users.read(ctx, app, ids[i])
		if user != nil {
			names[i] = user.Spec.UserName
			m.users.applyOwnWrite(user)
		}
		return err
	})
}

// namesByList looks for many users in one live list of the App's.
func (m *memberships) namesByList(ctx context.Context, app types.NamespacedName, ids, names []string, asked []int) error {
	wanted := make(map[string]int, len(asked))
	for _, i := range asked {
		wanted[ids[i]] = i
	}
	for next := ""; ; {
		page := &v1alpha1.UserList{}
		err := m.live.List(ctx, page, client.InNamespace(app.Namespace), client.MatchingFields{"spec.app": app.Name},
			client.Limit(usersPerPage), client.Continue(next))
		if err != nil {
			return err
		}
		found := make([]int, 0, len(page.Items))
		for n := range page.Items {
			if _, ok := wanted[page.Items[n].Name]; ok {
				found = append(found, n)
			}
		}
		err = readEach(ctx, found, func(ctx context.Context, n int) error {
			user := page.Items[n].DeepCopy()
			seen, err := m.users.sees(ctx, app, user)
			if seen {
				names[wanted[user.Name]] = user.Spec.UserName
				m.users.applyOwnWrite(user)
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
