package directory

import (
	"context"
	"errors"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/membership"
)

// maxTogether is how many requests one write of a group may make true: the Group names them all.
const maxTogether = 64

// writeBatch makes changes of one group, in their order: as many as can be in one go. One with conditions is made by
// itself.
func (g *Groups) writeBatch(ctx context.Context, app *v1alpha1.App, id string, batch []*groupRequest) {
	for len(batch) > 0 {
		count := 1
		for count < min(len(batch), maxTogether) && len(batch[0].conditions) == 0 && len(batch[count].conditions) == 0 {
			count++
		}
		g.writeTogether(ctx, app, id, batch[:count])
		batch = batch[count:]
	}
}

// renamesError says that a request of a batch changes the group's name.
type renamesError struct{ index int }

func (e *renamesError) Error() string { return "a change of the name" }

// errReserve says that the conditions of a request hold, and that shards must be written for it.
var errReserve = errors.New("the version must be reserved")

// writeTogether makes changes in one go, if it can.
func (g *Groups) writeTogether(ctx context.Context, app *v1alpha1.App, id string, batch []*groupRequest) {
	if len(batch) == 0 {
		return
	}
	group, changed, err := g.applyTogether(ctx, app, id, batch)
	var renames *renamesError
	switch {
	case errors.As(err, &renames):
		g.writeTogether(ctx, app, id, batch[:renames.index])
		g.writeRename(ctx, app, id, batch[renames.index])
		g.writeTogether(ctx, app, id, batch[renames.index+1:])
		return
	case errors.Is(err, errReserve):
		g.writeReserved(ctx, app, id, batch[0])
		return
	case len(batch) > 1 && (apierrors.IsInvalid(err) || apierrors.IsRequestEntityTooLargeError(err) || errors.Is(err, membership.ErrTooLarge)):
		// One of them is to blame.
		for i := range batch {
			g.writeTogether(ctx, app, id, batch[i:i+1])
		}
		return
	}
	for _, request := range batch {
		if request.err == nil {
			request.group, request.changed, request.err = group, changed, err
		}
	}
}

// applyTogether writes what the requests come to on the group as it is. A request that is refused has its own error, and
// no part in it.
func (g *Groups) applyTogether(ctx context.Context, app *v1alpha1.App, id string, batch []*groupRequest) (*v1alpha1.Group, bool, error) {
	group, changed, err := g.members.in(app.Namespace).Apply(ctx, id, func(next *v1alpha1.Group) (membership.Decision, error) {
		var decision membership.Decision
		seen, err := g.sees(ctx, appName(app), next)
		if err != nil {
			return decision, err
		}
		if !seen {
			return decision, errGroupNotFound(id)
		}
		key := next.Spec.DisplayNameKey
		for i, request := range batch {
			if err := request.decide(g, next, &decision); err != nil {
				return decision, err
			}
			if next.Spec.DisplayNameKey != key {
				return decision, &renamesError{i}
			}
		}
		decision.Requests = requestIDs(batch)
		decision.Observe = func(joined, left []string) { observe(batch, joined, left) }
		return decision, nil
	})
	if err == nil {
		g.applyOwnWrite(group)
	}
	return group, changed, err
}

// requestIDs returns the ids of the requests of a batch that were not refused.
func requestIDs(batch []*groupRequest) (ids []string) {
	for _, request := range batch {
		if id := requestID(request.ctx); id != "" && request.err == nil && !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	return ids
}

// observe tells each request of a batch which of the changes of members it had asked for.
func observe(batch []*groupRequest, joined, left []string) {
	for _, request := range batch {
		if request.observe == nil || request.err != nil {
			continue
		}
		asked := func(ids []string, wanted bool) []string {
			return slices.DeleteFunc(slices.Clone(ids), func(id string) bool {
				member, said := request.members.Wants(id)
				return !said || member != wanted
			})
		}
		request.observe(asked(joined, true), asked(left, false))
	}
}

// decide adds to a decision what the request comes to, and leaves the reason in err where it is refused.
func (r *groupRequest) decide(g *Groups, next *v1alpha1.Group, decision *membership.Decision) error {
	var changed bool
	if changed, r.err = r.apply(g, next); r.err == nil {
		if len(r.conditions) > 0 && next.Spec.Sharding != nil && !r.members.IsZero() {
			return errReserve
		}
		decision.Attributes = decision.Attributes || changed
		decision.Notes = noteUnknown(next, r.unknown, r.replacesAll) || decision.Notes
		decision.Members.Then(r.members)
	}
	return nil
}

// apply makes the group's next attributes in place, if the conditions hold, and reports whether they differ. After an
// error the group is as it was.
func (r *groupRequest) apply(g *Groups, next *v1alpha1.Group) (bool, error) {
	if err := check(r.conditions, g.version(next)); err != nil {
		return false, err
	}
	before := next.Spec
	changed, err := applyToGroup(next, r.change)
	if err != nil {
		next.Spec = before
	}
	return changed, err
}

// writeReserved makes a change of shards on a condition. Shards are written before the Group. So the Group is written once
// before them, and another change on the same condition finds that it does not hold any more.
func (g *Groups) writeReserved(ctx context.Context, app *v1alpha1.App, id string, request *groupRequest) {
	_, _, request.err = g.members.in(app.Namespace).Apply(ctx, id, func(next *v1alpha1.Group) (membership.Decision, error) {
		return membership.Decision{Attributes: true, Requests: requestIDs([]*groupRequest{request})}, check(request.conditions, g.version(next))
	})
	if request.err == nil {
		request.conditions = nil
		g.writeTogether(ctx, app, id, []*groupRequest{request})
	}
}

// writeRename makes a change that gives the group another name: the name and the other attributes first, by the protocol
// of names, then the members.
func (g *Groups) writeRename(ctx context.Context, app *v1alpha1.App, id string, request *groupRequest) {
	var renamed *v1alpha1.Group
	request.err = onConflict(ctx, func(ctx context.Context) (err error) {
		renamed, err = g.rename(ctx, app, id, request)
		return err
	})
	if request.err == nil {
		g.writeMembers(ctx, app, id, request, renamed)
	}
}

// rename is one attempt. The result is nil where the group has the name by now.
func (g *Groups) rename(ctx context.Context, app *v1alpha1.App, id string, request *groupRequest) (*v1alpha1.Group, error) {
	group, err := g.Get(ctx, app, id)
	if err != nil {
		return nil, err
	}
	if err := check(request.conditions, g.version(group)); err != nil {
		return nil, err
	}
	next := group.DeepCopy()
	if _, err := applyToGroup(next, request.change); err != nil || next.Spec.DisplayNameKey == group.Spec.DisplayNameKey {
		return nil, err
	}
	renamed, err := g.claimsIn(app.Namespace).Rename(ctx, group.DeepCopy(), next.Spec.DisplayNameKey, func(group *v1alpha1.Group) error {
		membership.Touch(group)
		group.Spec.LastRequests = requestIDs([]*groupRequest{request})
		_, err := applyToGroup(group, request.change)
		return err
	})
	if err == nil {
		g.applyOwnWrite(renamed)
	}
	return renamed, err
}

// writeMembers makes the rest of a change after its name was written, or the whole change where the name stays (renamed is
// nil).
func (g *Groups) writeMembers(ctx context.Context, app *v1alpha1.App, id string, request *groupRequest, renamed *v1alpha1.Group) {
	if renamed == nil {
		g.writeTogether(ctx, app, id, []*groupRequest{request})
		return
	}
	request.change, request.conditions = nil, nil
	g.writeTogether(ctx, app, id, []*groupRequest{request})
	request.changed = request.err == nil
}
