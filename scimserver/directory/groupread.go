package directory

import (
	"cmp"
	"context"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/claims"
	"github.com/scim-operator/scim-operator/scimserver/protocol"
)

// GetGroup returns the App's group with the id: one live read. Errors are 404 where there is no such group, where it belongs
// to another App, and where its name's claim does not name it; and *UnavailableError.
func (d *Directory) GetGroup(ctx context.Context, app *v1alpha1.App, id string) (*v1alpha1.Group, error) {
	group, err := d.readGroup(ctx, app, id)
	if err != nil {
		return nil, asGroupClientSees(err, id)
	}
	if group == nil {
		return nil, errGroupNotFound(id)
	}
	return group, nil
}

// readGroup is GetGroup, with nil for what a client does not see.
func (d *Directory) readGroup(ctx context.Context, app *v1alpha1.App, id string) (*v1alpha1.Group, error) {
	if len(validation.IsDNS1123Subdomain(id)) > 0 {
		return nil, nil // no object can have this name
	}
	group := &v1alpha1.Group{}
	err := d.live.Get(ctx, client.ObjectKey{Namespace: app.Namespace, Name: id}, group)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	seen, err := d.seesGroup(ctx, app, group)
	if err != nil || !seen {
		return nil, err
	}
	return group, nil
}

// seesGroup says whether the App's clients see a group that was read live. Once a claim names it, it does as long as
// the group has the name, so an earlier look, by the controller or by this process, saves a read.
func (d *Directory) seesGroup(ctx context.Context, app *v1alpha1.App, group *v1alpha1.Group) (bool, error) {
	if group.Spec.App != app.Name || group.DeletionTimestamp != nil {
		return false, nil
	}
	if group.IsNameReserved() {
		return true, nil
	}
	key := group.Spec.DisplayNameKey
	if entry := d.groups.get(nameOf(group)); entry != nil && entry.group.UID == group.UID && entry.verified == key {
		return true, nil
	}
	named, err := d.groupClaims(group.Namespace).Verify(ctx, app.Name, v1alpha1.ClaimDisplayName, key, group.Name)
	if named {
		d.wroteGroup(group.DeepCopy())
	}
	return named, err
}

// FindGroupsByName returns the App's group with the displayName, in any letter case; none or one. It is exact at the time of
// the call on every replica, as FindByUserName is. The error is *UnavailableError where the API server cannot be read.
func (d *Directory) FindGroupsByName(ctx context.Context, app *v1alpha1.App, displayName string) ([]*v1alpha1.Group, error) {
	group, err := d.readGroupByKey(ctx, app, claims.Key(displayName))
	if err != nil || group == nil {
		return nil, asGroupClientSees(err, "")
	}
	return []*v1alpha1.Group{group}, nil
}

func (d *Directory) readGroupByKey(ctx context.Context, app *v1alpha1.App, key string) (*v1alpha1.Group, error) {
	if entry := d.groups.byKey(appName(app), key); entry != nil {
		group, err := d.readGroup(ctx, app, entry.group.Name)
		if err != nil || group != nil && group.Spec.DisplayNameKey == key {
			return group, err
		}
	}
	owner, err := d.groupClaims(app.Namespace).Owner(ctx, app.Name, key)
	if err != nil || owner == "" {
		return nil, err
	}
	group, err := d.readGroup(ctx, app, owner)
	if err != nil || group == nil || group.Spec.DisplayNameKey != key {
		return nil, err
	}
	return group, nil
}

// FindGroups returns the App's groups that a bound filter matches, each once, in the order of creation. A filter that asks
// for displayName, id or externalId is answered by live reads, members included; any other, members.value eq too, by what is
// in memory. baseURL is what meta.location begins with. The error is *UnavailableError where the API server cannot be read.
func (d *Directory) FindGroups(ctx context.Context, app *v1alpha1.App, filter *protocol.Filter, baseURL string) ([]*v1alpha1.Group, error) {
	lookups, exact := filter.Lookups()
	if lookups == nil {
		return d.scanGroups(ctx, app, filter, baseURL)
	}
	var all []*v1alpha1.Group
	for _, lookup := range lookups {
		some, err := d.lookUpGroups(ctx, app, lookup)
		if err != nil {
			return nil, asGroupClientSees(err, "")
		}
		all = append(all, some...)
	}
	slices.SortFunc(all, groupsInOrder)
	all = slices.CompactFunc(all, func(a, b *v1alpha1.Group) bool { return a.Name == b.Name })
	if exact {
		return all, nil
	}
	var matching []*v1alpha1.Group
	step := pace(ctx)
	for _, group := range all {
		if err := step(); err != nil {
			return nil, err
		}
		members := &liveMembers{directory: d, ctx: ctx, app: app, group: group}
		matches, err := d.matchesGroup(filter, group, baseURL, members)
		if err = cmp.Or(err, members.err); err != nil {
			return nil, asGroupClientSees(err, group.Name)
		}
		if matches {
			matching = append(matching, group)
		}
	}
	return matching, nil
}

func (d *Directory) matchesGroup(filter *protocol.Filter, group *v1alpha1.Group, baseURL string, members protocol.MemberSet) (bool, error) {
	resource, err := GroupAttributes(group)
	if err != nil {
		return false, err
	}
	if !filter.Mentions("members") {
		members = nil
	}
	return filter.Matches(d.groupSchemas.CompleteGroup(resource, d.GroupMeta(group, baseURL), members)), nil
}

// scanGroups looks at every group of the App, at the pace of ctx.
func (d *Directory) scanGroups(ctx context.Context, app *v1alpha1.App, filter *protocol.Filter, baseURL string) (matching []*v1alpha1.Group, err error) {
	step := pace(ctx)
	d.groups.snapshot(appName(app)).Scan(func(entry *groupEntry) bool {
		if err = step(); err != nil {
			return false
		}
		var matches bool
		if matches, err = d.matchesGroup(filter, entry.group, baseURL, indexedMembers{d, entry.group}); matches {
			matching = append(matching, entry.group)
		}
		return err == nil
	})
	return matching, err
}

func (d *Directory) lookUpGroups(ctx context.Context, app *v1alpha1.App, lookup protocol.Lookup) ([]*v1alpha1.Group, error) {
	var found []*v1alpha1.Group
	switch lookup.Attribute {
	case "displayName":
		return d.FindGroupsByName(ctx, app, lookup.Value)
	case "members.value":
		for _, entry := range d.groupsOf(app, lookup.Value) {
			found = append(found, entry.group)
		}
	case "externalId":
		for _, entry := range d.groups.byExternalID(appName(app), lookup.Value) {
			group, err := d.readGroup(ctx, app, entry.group.Name)
			if err != nil {
				return nil, err
			}
			if group != nil && group.Spec.ExternalID == lookup.Value {
				found = append(found, group)
			}
		}
	default: // id
		group, err := d.readGroup(ctx, app, lookup.Value)
		if err != nil {
			return nil, err
		}
		if group != nil {
			found = append(found, group)
		}
	}
	return found, nil
}

func groupsInOrder(a, b *v1alpha1.Group) int {
	return cmp.Or(groupCreatedAt(a).Compare(groupCreatedAt(b)), cmp.Compare(a.Name, b.Name))
}
