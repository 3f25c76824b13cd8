package directory

import (
	"context"

	"github.com/go-logr/logr"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

func (d *Directory) sawGroup(group *v1alpha1.Group) {
	if d.groups.put(group, "") {
		after := verifyAfter
		if current := d.groups.get(nameOf(group)); current != nil && current.trusted {
			after = 0
		}
		d.unverifiedGroups.AddAfter(nameOf(group), after)
	}
	d.members.PutGroup(group)
}

func (d *Directory) lostGroup(group *v1alpha1.Group) {
	d.groups.remove(group)
	d.members.RemoveGroup(group)
}

func (d *Directory) sawShard(shard *v1alpha1.MemberShard) { d.members.PutShard(shard) }

// verifyNextGroup is verifyNext for groups.
func (d *Directory) verifyNextGroup(ctx context.Context) bool {
	name, shutdown := d.unverifiedGroups.Get()
	if shutdown {
		return false
	}
	defer d.unverifiedGroups.Done(name)
	entry := d.groups.get(name)
	if entry == nil || !entry.open() {
		d.unverifiedGroups.Forget(name)
		return true
	}
	key := entry.group.Spec.DisplayNameKey
	named, err := d.groupClaims(name.Namespace).Verify(ctx, entry.group.Spec.App, v1alpha1.ClaimDisplayName, key, name.Name)
	switch {
	case named:
		d.groups.verify(name, key)
		d.unverifiedGroups.Forget(name)
	case err == nil && entry.trusted:
		d.groups.distrust(name, key)
		d.unverifiedGroups.AddRateLimited(name)
	case err == nil && d.unverifiedGroups.NumRequeues(name) >= verifyAttempts:
		d.unverifiedGroups.Forget(name)
	default:
		if err != nil {
			logr.FromContextOrDiscard(ctx).V(1).Info("Could not read a claim", "group", name, "error", err.Error())
		}
		d.unverifiedGroups.AddRateLimited(name)
	}
	return true
}
