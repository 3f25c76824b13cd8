package directory

import (
	"context"
	"slices"
	"time"

	"github.com/tidwall/btree"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/scimserver/protocol"
)

// UsersBefore returns the last count users that come before a place in the order of creation, in that order. The user in
// that place need not be there any more.
func (d *Directory) UsersBefore(app *v1alpha1.App, created time.Time, id string, count int) []*Entry {
	return lastBefore(d.users.snapshot(appName(app)), placeOf(created, id), (*Entry).compare, count)
}

// OrderedBefore is UsersBefore in the order that OrderedAfter uses. It returns no users where no such order can be kept. The
// only error is the end of ctx.
func (d *Directory) OrderedBefore(ctx context.Context, app *v1alpha1.App, by protocol.Sort, key protocol.SortKey, created time.Time, id string, count int) (users []Sorted, err error) {
	place := Sorted{Key: key, User: placeOf(created, id)}
	_, err = d.users.inOrder(ctx, appName(app), by, func(o *order) {
		users = lastBefore(o.sorted, place, o.compare, count)
	})
	return users, err
}

// GroupsBefore is UsersBefore for groups.
func (d *Directory) GroupsBefore(app *v1alpha1.App, created time.Time, id string, count int) []*v1alpha1.Group {
	place := &groupEntry{created: created, group: &v1alpha1.Group{ObjectMeta: metav1.ObjectMeta{Name: id}}}
	entries := lastBefore(d.groups.snapshot(appName(app)), place, (*groupEntry).compare, count)
	groups := make([]*v1alpha1.Group, len(entries))
	for i, entry := range entries {
		groups[i] = entry.group
	}
	return groups
}

func lastBefore[T any](sorted *btree.BTreeG[T], place T, compare func(a, b T) int, count int) []T {
	found := make([]T, 0, min(count, sorted.Len()))
	sorted.Descend(place, func(one T) bool {
		if len(found) < count && compare(one, place) < 0 {
			found = append(found, one)
		}
		return len(found) < count
	})
	slices.Reverse(found)
	return found
}
