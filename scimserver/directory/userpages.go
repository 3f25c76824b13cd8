package directory

import (
	"encoding/json"
	"time"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/scimserver/protocol"
)

// List returns the App's users from startIndex on, which counts from 1 (RFC 7644 section 3.4.2.4), as JSON, at most count of
// them, and how many there are in all. The order is that of creation. Locations begin with baseURL, which has no slash at
// the end. It fails where a user on the page cannot be rendered.
//
// The answer comes from the read model: it shows this process' own writes at once, other replicas' after the watch.
func (u *Users) List(app *v1alpha1.App, baseURL string, startIndex, count int) ([]json.RawMessage, int, error) {
	entries, total := u.model.page(appName(app), max(startIndex, 1)-1, count)
	rendered, err := u.RenderAll(app, baseURL, entries)
	return rendered, total, err
}

// Page returns the users of the same page as List.
func (u *Users) Page(app *v1alpha1.App, startIndex, count int) ([]*Entry, int) {
	return u.model.page(appName(app), max(startIndex, 1)-1, count)
}

// After returns the first count users that come after a place in the order of creation, or from the beginning where
// the id is "", and how many there are in all. The user in that place need not be there any more.
func (u *Users) After(app *v1alpha1.App, created time.Time, id string, count int) ([]*Entry, int) {
	return u.model.after(appName(app), positionOf(created, id), count)
}

// Before returns the last count users that come before a place in the order of creation, in that order. The user in that place
// need not be there any more.
func (u *Users) Before(app *v1alpha1.App, created time.Time, id string, count int) []*Entry {
	return u.model.before(appName(app), positionOf(created, id), count)
}

// Count returns how many users the App has.
func (u *Users) Count(app *v1alpha1.App) int {
	_, total := u.model.page(appName(app), 0, 0)
	return total
}

// Scan hands every user of the App, in the order of creation, to visit, until that returns false. It works on the users as
// they were when it began, and blocks no write.
func (u *Users) Scan(app *v1alpha1.App, visit func(*Entry) bool) {
	u.model.snapshot(appName(app)).Scan(visit)
}

// RenderAll returns entries as JSON. It fails where one of them cannot be rendered.
func (u *Users) RenderAll(app *v1alpha1.App, baseURL string, entries []*Entry) ([]json.RawMessage, error) {
	base, err := jsonBase(baseURL)
	if err != nil {
		return nil, err
	}
	groups, size := make([][]GroupRef, len(entries)), 0
	for i, entry := range entries {
		if err := entry.problem(); err != nil {
			return nil, err
		}
		groups[i] = u.GroupsOf(app, entry.id)
		size += entry.sizeIn(groups[i], base)
	}
	buffer, page := make([]byte, 0, size), make([]json.RawMessage, len(entries))
	for i, entry := range entries {
		from := len(buffer)
		if buffer, err = entry.append(buffer, groups[i], base); err != nil {
			return nil, err
		}
		page[i] = buffer[from:len(buffer):len(buffer)]
	}
	return page, nil
}

// Append appends one user as JSON, with the attributes that a request asks for, to dst: for pages that are written part by
// part. The error is of a user that cannot be shown; dst is as it was then.
func (u *Users) Append(dst []byte, app *v1alpha1.App, baseURL string, entry *Entry, projection protocol.Projection) ([]byte, error) {
	if err := entry.problem(); err != nil {
		return dst, err
	}
	if !projection.IsZero() {
		rendered, err := u.Render(app, baseURL, entry, projection)
		return append(dst, rendered...), err
	}
	base, err := jsonBase(baseURL)
	if err != nil {
		return dst, err
	}
	return entry.append(dst, u.GroupsOf(app, entry.id), base)
}

// sizeIn is about how many bytes append adds.
func (r *rendering) sizeIn(groups []GroupRef, base []byte) int {
	size := len(r.body) + len(base)
	for _, group := range groups {
		size += groupBytes + len(base) + 2*len(group.ID) + len(group.Display)
	}
	return size
}

// groupBytes is about what a group takes in a user's JSON beside its names.
const groupBytes = 80

// Render returns one user as JSON, with the attributes that a request asks for. It fails where the user cannot be rendered.
func (u *Users) Render(app *v1alpha1.App, baseURL string, entry *Entry, projection protocol.Projection) (json.RawMessage, error) {
	return u.RenderIn(app, baseURL, entry, u.GroupsOf(app, entry.id), projection)
}

// RenderIn is Render, with the same errors, of a user in groups that the caller has taken from GroupsOf.
func (u *Users) RenderIn(app *v1alpha1.App, baseURL string, entry *Entry, groups []GroupRef, projection protocol.Projection) (json.RawMessage, error) {
	if projection.IsZero() {
		if err := entry.problem(); err != nil {
			return nil, err
		}
		base, err := jsonBase(baseURL)
		if err != nil {
			return nil, err
		}
		return entry.append(make([]byte, 0, entry.sizeIn(groups, base)), groups, base)
	}
	resource, err := entry.resource()
	if err != nil {
		return nil, err
	}
	return u.Schemas(app).Render(resource, entry.meta(baseURL, groups), projection)
}

// Complete returns a user as filters and orders see it, with its groups. It fails where the user cannot be rendered.
func (u *Users) Complete(app *v1alpha1.App, baseURL string, entry *Entry) (map[string]any, error) {
	resource, err := entry.resource()
	if err != nil {
		return nil, err
	}
	return u.Schemas(app).Complete(resource, entry.meta(baseURL, u.GroupsOf(app, entry.id))), nil
}
