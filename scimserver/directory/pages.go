package directory

import (
	"encoding/json"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// List returns the App's users from startIndex on, which counts from 1 (RFC 7644 section 3.4.2.4), as JSON, at most
// count of them, and how many there are in all. The order is that of creation. Locations begin with baseURL, which has
// no slash at the end.
//
// The answer comes from the read model: it shows this process' own writes at once, other replicas' after the watch.
func (d *Directory) List(app *v1alpha1.App, baseURL string, startIndex, count int) ([]json.RawMessage, int, error) {
	entries, total := d.users.page(appName(app), max(startIndex, 1)-1, count)
	rendered, err := d.RenderAll(app, baseURL, entries)
	return rendered, total, err
}

// Users returns the objects of the same page as List.
func (d *Directory) Users(app *v1alpha1.App, startIndex, count int) ([]*v1alpha1.User, int) {
	entries, total := d.users.page(appName(app), max(startIndex, 1)-1, count)
	users := make([]*v1alpha1.User, len(entries))
	for i, entry := range entries {
		users[i] = entry.User
	}
	return users, total
}

// UsersAfter returns the first count users that come after a place in the order of creation, or from the beginning where
// the id is "", and how many there are in all. The user in that place need not be there any more.
func (d *Directory) UsersAfter(app *v1alpha1.App, created time.Time, id string, count int) ([]*v1alpha1.User, int) {
	sorted := d.users.snapshot(appName(app))
	users := make([]*v1alpha1.User, 0, min(count, sorted.Len()))
	place := &Entry{created: created, User: &v1alpha1.User{ObjectMeta: metav1.ObjectMeta{Name: id}}}
	visit := func(entry *Entry) bool {
		if len(users) < count && (id == "" || entry.compare(place) > 0) {
			users = append(users, entry.User)
		}
		return len(users) < count
	}
	if id == "" {
		sorted.Scan(visit)
	} else {
		sorted.Ascend(place, visit)
	}
	return users, sorted.Len()
}

// CreatedAt is when the user was created, as lists are ordered by it.
func CreatedAt(user *v1alpha1.User) time.Time { return createdAt(user) }

// Count returns how many users the App has.
func (d *Directory) Count(app *v1alpha1.App) int {
	_, total := d.users.page(appName(app), 0, 0)
	return total
}

// Scan hands every user of the App, in the order of creation, to visit, until that returns false. It works on the users
// as they were when it began, and holds up nobody.
func (d *Directory) Scan(app *v1alpha1.App, visit func(*Entry) bool) {
	d.users.snapshot(appName(app)).Scan(visit)
}

// RenderAll returns entries as JSON.
func (d *Directory) RenderAll(app *v1alpha1.App, baseURL string, entries []*Entry) ([]json.RawMessage, error) {
	base, err := jsonBase(baseURL)
	if err != nil {
		return nil, err
	}
	schemas := d.Schemas(app)
	parts, size := make([]*rendering, len(entries)), 0
	for i, entry := range entries {
		if parts[i], err = entry.rendered(schemas); err != nil {
			return nil, err
		}
		size += len(parts[i].head) + len(parts[i].meta) + len(base) + len(parts[i].tail)
	}
	buffer, page := make([]byte, 0, size), make([]json.RawMessage, len(entries))
	for i, part := range parts {
		from := len(buffer)
		if buffer, err = part.append(buffer, d.GroupsOf(app, entries[i].User.Name), base); err != nil {
			return nil, err
		}
		page[i] = buffer[from:len(buffer):len(buffer)]
	}
	return page, nil
}

func appName(app *v1alpha1.App) types.NamespacedName {
	return types.NamespacedName{Namespace: app.Namespace, Name: app.Name}
}
