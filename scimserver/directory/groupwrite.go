package directory

import (
	"context"
	"iter"
	"reflect"
	"slices"

	"github.com/go-logr/logr"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/membership"
	"github.com/scim-operator/scim-operator/scimserver/protocol"
)

// MembersChange is what a request does to a group's members. The zero value does nothing.
type MembersChange struct {
	Delta protocol.MembershipDelta
	// Resolve, where it is set, makes the delta of the current members and of those users of the App among Joining, as a
	// PATCH must that selects members by a filter.
	Resolve func(current, joining iter.Seq[protocol.Member]) protocol.MembershipDelta
	Joining []string
	// Observe, where it is set, is told which ids became members by the request and which are members no more.
	Observe func(joined, left []string)
}

// Create makes a group. Members that are no users of the App are left out, and reported on the Group. observe is told
// the ids that are members. Errors are 409 for another group's displayName, in any letter case, 400 for what the API
// server's validation refuses, 413 beyond the largest group, and *UnavailableError.
func (g *Groups) Create(ctx context.Context, app *v1alpha1.App, resource protocol.GroupResource, observe ...func(members []string)) (*v1alpha1.Group, error) {
	ctx, cancel := context.WithTimeout(ctx, membership.FlipTimeout)
	defer cancel()
	group, err := g.newGroup(app, resource.Attributes)
	if err != nil {
		return nil, asGroupClientSees(err, "")
	}
	known, unknown, err := g.members.known(ctx, app, resource.Members)
	if err != nil {
		return nil, asGroupClientSees(err, "")
	}
	noteUnknown(group, unknown, true)
	if id := requestID(ctx); id != "" {
		group.Spec.LastRequests = []string{id}
	}
	if len(known) > g.members.inlineLimit {
		// Before 128 shards are written for nothing.
		if other, err := g.readByKey(ctx, appName(app), group.Spec.DisplayNameKey); err != nil || other != nil {
			return nil, orGroupTaken(err)
		}
	}
	if err = g.members.in(app.Namespace).Place(ctx, group, known...); err != nil {
		return nil, asGroupClientSees(err, "")
	}
	if err = g.claimsIn(app.Namespace).Create(ctx, group); err != nil {
		if lostName(err) {
			g.removeShards(ctx, group)
		}
		return nil, asGroupClientSees(err, "")
	}
	g.applyOwnWrite(group)
	tellUnknown(ctx, app, group.Name, unknown)
	for _, told := range observe {
		told(known)
	}
	return group, nil
}

func (g *Groups) newGroup(app *v1alpha1.App, resource protocol.Resource) (*v1alpha1.Group, error) {
	group := &v1alpha1.Group{Spec: v1alpha1.GroupSpec{App: app.Name}}
	if err := setGroupResource(&group.Spec, resource); err != nil {
		return nil, err
	}
	id, err := newGroupID(group.Spec.DisplayName)
	if err != nil {
		return nil, err
	}
	group.ObjectMeta = metav1.ObjectMeta{
		Namespace: app.Namespace, Name: id, Labels: map[string]string{v1alpha1.LabelApp: app.Name},
	}
	now := metav1.NowMicro()
	group.Spec.CreatedAt, group.Spec.LastModified = &now, now.DeepCopy()
	return group, checkGroupSize(&group.Spec, nil)
}

// Update changes a group's attributes, its members, or both, by compare-and-swap on live objects. It returns the
// group as it is afterwards, and whether that differs for clients from before; where it does not, nothing was written, and
// lastModified stays. change may be nil. Members that are no users of the App are left out, and reported on the Group.
//
// Changes of one group that come at once are made together, in the order in which they came. A change of many members is
// not atomic: after an error some of it may have happened, and the same request, repeated, completes it.
//
// Errors are change's own, 404, 409 for another group's displayName, 400 for what the API server's validation refuses,
// 413 beyond what can be kept of a group, those of the conditions, and *UnavailableError.
func (g *Groups) Update(ctx context.Context, app *v1alpha1.App, id string, change Change, members MembersChange, conditions ...Precondition) (*v1alpha1.Group, bool, error) {
	delta, err := g.resolve(ctx, app, id, members)
	if err != nil {
		return nil, false, asGroupClientSees(err, id)
	}
	known, unknown, err := g.members.known(ctx, app, delta.Add)
	if err != nil {
		return nil, false, asGroupClientSees(err, id)
	}
	request := &groupRequest{
		change: change, replacesAll: delta.ReplaceAll, unknown: unknown,
		conditions: slices.DeleteFunc(conditions, Precondition.IsZero), observe: members.Observe,
	}
	if len(request.conditions) > 0 {
		// The wait is here, outside of the queue: no other change has to wait for it.
		group, err := g.Get(ctx, app, id)
		if err == nil {
			err = g.await(ctx, group, request.conditions)
		}
		if err != nil {
			return nil, false, asGroupClientSees(err, id)
		}
	}
	if delta.ReplaceAll {
		request.members.Replace(known...)
	} else {
		request.members.Add(known...)
		request.members.Remove(delta.Remove...)
	}
	if err := g.writers.submit(ctx, app, id, request); err != nil {
		return nil, false, asGroupClientSees(err, id)
	}
	tellUnknown(ctx, app, id, unknown)
	return request.group, request.changed, nil
}

func (g *Groups) resolve(ctx context.Context, app *v1alpha1.App, id string, members MembersChange) (protocol.MembershipDelta, error) {
	if members.Resolve == nil {
		return members.Delta, nil
	}
	group, err := g.Get(ctx, app, id)
	if err != nil {
		return protocol.MembershipDelta{}, err
	}
	current, err := g.Members(ctx, group)
	if err != nil {
		return protocol.MembershipDelta{}, err
	}
	names, err := g.members.userNames(ctx, appName(app), members.Joining)
	if err != nil {
		return protocol.MembershipDelta{}, err
	}
	return members.Resolve(slices.Values(current), slices.Values(withNames(members.Joining, names))), nil
}

// applyToGroup makes a group's next attributes in place, and reports whether they differ.
func applyToGroup(group *v1alpha1.Group, change Change) (bool, error) {
	if change == nil {
		return false, nil
	}
	current, err := GroupAttributes(group)
	if err != nil {
		return false, err
	}
	next, changed, err := changed(current, change)
	if err != nil || !changed {
		return false, err
	}
	if reflect.DeepEqual(next, current) {
		return false, nil
	}
	before := group.Spec
	if err := setGroupResource(&group.Spec, next); err != nil {
		return false, err
	}
	return true, checkGroupSize(&group.Spec, &before)
}

// Delete deletes a group, frees its name and removes its shards. Once the first is durable the answer is nil; what
// is left of the others does no harm, and the controller removes it. Errors are 404, those of the conditions, and
// *UnavailableError.
func (g *Groups) Delete(ctx context.Context, app *v1alpha1.App, id string, conditions ...Precondition) error {
	group, err := g.delete(ctx, app, id, conditions)
	if err != nil {
		return err
	}
	g.forget(newGroupEntry(group))
	if err := g.claimsIn(app.Namespace).Release(ctx, group); err != nil {
		logr.FromContextOrDiscard(ctx).V(1).Info("Left the claim of a deleted group to be released later", "group", id, "error", err.Error())
	}
	g.removeShards(ctx, group)
	return nil
}

// removeShards is an attempt: what it leaves, the controller sweeps.
func (g *Groups) removeShards(ctx context.Context, group *v1alpha1.Group) {
	if err := g.members.in(group.Namespace).RemoveShards(ctx, group); err != nil {
		logr.FromContextOrDiscard(ctx).V(1).Info("Left shards to be removed later", "group", group.Name, "error", err.Error())
	}
}
