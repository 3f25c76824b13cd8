package directory

import (
	"context"

	"github.com/go-logr/logr"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// followGroups feeds what is kept of groups and their members from the cache's informers.
func (d *Directory) followGroups(ctx context.Context, informers cache.Cache) error {
	groups, err := register(ctx, informers, &v1alpha1.Group{}, toolscache.ResourceEventHandlerFuncs{
		AddFunc:    func(object any) { d.sawGroup(object) },
		UpdateFunc: func(_, object any) { d.sawGroup(object) },
		DeleteFunc: func(object any) {
			if group, ok := deleted[*v1alpha1.Group](object); ok {
				d.groups.remove(group)
				d.members.RemoveGroup(group)
			}
		},
	})
	if err != nil {
		return err
	}
	shards, err := register(ctx, informers, &v1alpha1.MemberShard{}, toolscache.ResourceEventHandlerFuncs{
		AddFunc:    func(object any) { d.sawShard(object) },
		UpdateFunc: func(_, object any) { d.sawShard(object) },
		DeleteFunc: func(object any) {
			if shard, ok := deleted[*v1alpha1.MemberShard](object); ok {
				d.members.RemoveShard(shard)
			}
		},
	})
	d.synced = append(d.synced, groups, shards)
	return err
}

func (d *Directory) sawGroup(object any) {
	group, ok := object.(*v1alpha1.Group)
	if !ok {
		return
	}
	if d.groups.put(group, "") {
		d.unverifiedGroups.AddAfter(nameOf(group), verifyAfter)
	}
	d.members.PutGroup(group)
}

func (d *Directory) sawShard(object any) {
	if shard, ok := object.(*v1alpha1.MemberShard); ok {
		d.members.PutShard(shard)
	}
}

// verifyNextGroup is verifyNext for groups.
func (d *Directory) verifyNextGroup(ctx context.Context) bool {
	name, shutdown := d.unverifiedGroups.Get()
	if shutdown {
		return false
	}
	defer d.unverifiedGroups.Done(name)
	entry := d.groups.get(name)
	if entry == nil || entry.visible() || entry.deleted || entry.group.DeletionTimestamp != nil {
		d.unverifiedGroups.Forget(name)
		return true
	}
	key := entry.group.Spec.DisplayNameKey
	named, err := d.groupClaims(name.Namespace).Verify(ctx, entry.group.Spec.App, v1alpha1.ClaimDisplayName, key, name.Name)
	switch {
	case named:
		d.groups.verify(name, key)
		d.unverifiedGroups.Forget(name)
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
