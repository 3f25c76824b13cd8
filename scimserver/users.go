package scimserver

import (
	"errors"
	"log/slog"
	"net/http"
	"regexp"
	"strconv"
	"time"

	"github.com/go-logr/logr"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/tracing"
	"github.com/scim-operator/scim-operator/scimserver/directory"
	"github.com/scim-operator/scim-operator/scimserver/protocol"
)

const (
	// maxUserBody bounds the body of a request about one user, in bytes: what the directory keeps of one.
	maxUserBody = 256 << 10
	// maxRefusedBody bounds that of a PUT or PATCH which is refused for its size, and read all the same: it may say active: false.
	maxRefusedBody = 4 << 20
)

// userHandlers answers requests about users.
type userHandlers struct{ *Server }

// createUser answers POST /Users (RFC 7644 section 3.3). A person that the client knows already by externalId is restored
// with the same id: Okta posts again after a deactivation, and would never get past a 409.
func (s userHandlers) createUser(x *exchange) error {
	if !x.app.Spec.Provisioning.CreatesUsers() {
		return switchedOff(x.app, "createUsers")
	}
	body, err := x.body(maxUserBody)
	if err != nil {
		return err
	}
	schemas := s.directory.Users.Schemas(x.app)
	resource, err := schemas.DecodeUser(body)
	if err != nil {
		return err
	}
	drop(&resource, x.app.Spec.Provisioning.DropAttributes)
	if err := schemas.Validate(resource); err != nil {
		return err
	}
	if _, sent := resource.Attributes["active"]; !sent {
		resource.Attributes["active"] = true
	}
	if !x.inBulk { // which has as much time for a thousand operations
		defer s.apps.BeginCreate(x.context(), x.credential.app, x.limits)()
	}
	user, back, err := s.directory.Users.CreateOrRestore(x.context(), x.app, resource, restored(x.app, resource))
	if err != nil {
		return err
	}
	action := auditCreate
	if back {
		action = auditRestore
	}
	x.audit(action, "User", user.Name, "active", user.Spec.Active, "attributes", bounded(changedAttributes(protocol.Resource{}, resource)))
	x.writer.Header().Set("Location", directory.Meta(user, s.baseURL(x)).Location)
	return s.answerUser(x, http.StatusCreated, user)
}

// getUser answers GET /Users/{id} with what the API server has at that moment (RFC 7644 section 3.4.1).
func (s userHandlers) getUser(x *exchange) error {
	x.resourceID = x.route.id
	users := s.directory.Users
	user, err := users.Read(x.context(), x.app, x.route.id)
	if err != nil {
		return err
	}
	groups := users.GroupsOf(x.app, user.ID())
	version := user.Version(groups)
	if x.notModified(version) {
		return nil
	}
	projection, err := parseProjection(x.query())
	if err != nil {
		return err
	}
	body, err := users.RenderIn(x.app, s.baseURL(x), user, groups, projection)
	if err != nil {
		return err
	}
	x.writer.Header().Set("ETag", version)
	x.answer(http.StatusOK, body)
	return nil
}

// replaceUser answers PUT /Users/{id} (RFC 7644 section 3.5.1).
func (s userHandlers) replaceUser(x *exchange) error {
	return s.changeUser(x, func(schemas *protocol.SchemaSet, body []byte) directory.Change {
		return func(current protocol.Resource) (protocol.Resource, bool, error) {
			next, err := schemas.DecodeUser(body)
			if err != nil {
				return protocol.Resource{}, false, err
			}
			if _, sent := next.Attributes["active"]; !sent {
				// A request that says nothing about active neither deactivates a person nor brings back a leaver.
				if active, known := current.Attributes["active"]; known {
					next.Attributes["active"] = active
				}
			}
			return next, true, nil
		}
	})
}

// patchUser answers PATCH /Users/{id} (RFC 7644 section 3.5.2), with the user rather than 204, because some of Okta's
// apps look at the answer.
func (s userHandlers) patchUser(x *exchange) error {
	return s.changeUser(x, func(schemas *protocol.SchemaSet, body []byte) directory.Change {
		return func(current protocol.Resource) (protocol.Resource, bool, error) {
			return schemas.ApplyPatch(current, body)
		}
	})
}

// changeUser runs a PUT or PATCH. A change is refused for its form only: a refused profile push makes Okta forget the
// person, and the deactivation would never come. Where a change that is refused says active: false, that alone is done, and
// answered as a success with the user as it is then.
func (s userHandlers) changeUser(x *exchange, change func(*protocol.SchemaSet, []byte) directory.Change) error {
	x.resourceID = x.route.id
	body, tooLarge, err := x.changeBody()
	if err != nil {
		return err
	}
	reassigned := false
	if !x.app.Spec.Provisioning.UpdatesUsers() {
		stored, err := s.directory.Users.Get(x.context(), x.app, x.route.id)
		if err != nil {
			return err
		}
		reassigned = isReassigned(stored)
	}
	schemas := s.directory.Users.Schemas(x.app)
	wanted := change(schemas, body)
	sound := func(current protocol.Resource) (protocol.Resource, bool, error) {
		if tooLarge != nil {
			return protocol.Resource{}, false, tooLarge
		}
		before := protocol.Resource{Attributes: map[string]any{"userName": current.Attributes["userName"]}} // wanted may write into current
		next, changed, err := wanted(current)
		if err != nil {
			return next, false, err
		}
		drop(&next, x.app.Spec.Provisioning.DropAttributes)
		return next, changed, schemas.ValidateUpdate(before, next)
	}
	if mayDeactivate(body) {
		defer s.apps.BeginRemoval(x.credential.app, x.limits)()
	}
	done, err := s.updateUser(x, permitted(x.app, reassigned, sound))
	if refusal := contentRefused(err); refusal != nil && deactivates(schemas, x.request.Method, body) {
		done, err = s.updateUser(x, permitted(x.app, reassigned, deactivate))
		if err == nil {
			x.warn(tookActiveOnly, "id", x.route.id, "detail", refusal.Detail)
		}
	}
	if err != nil {
		return err
	}
	x.auditUser(done.user, done.change)
	if done.leaves {
		s.confirmRevocation(x, done.user)
	}
	return s.answerUser(x, http.StatusOK, done.user)
}

// changeBody reads the body of a PUT or PATCH of a user. tooLarge is not nil where the change is refused for the size of the body, as far as
// the request told that size ahead.
func (x *exchange) changeBody() (body []byte, tooLarge, err error) {
	limit := int64(maxUserBody)
	if x.request.ContentLength > limit {
		tooLarge, limit = bodyTooLarge(limit), maxRefusedBody
	}
	body, err = x.body(limit)
	return body, tooLarge, err
}

const tookActiveOnly = "Took active: false of a request, and nothing else: the rest of it is refused"

// updatedUser is what a PUT or PATCH made of a user. leaves says that the user is inactive now.
type updatedUser struct {
	user   *v1alpha1.User
	change resourceChange
	leaves bool
}

func (s userHandlers) updateUser(x *exchange, change directory.Change) (done updatedUser, err error) {
	done.user, err = s.directory.Users.Update(x.context(), x.app, x.route.id, func(current protocol.Resource) (protocol.Resource, bool, error) {
		before := current.DeepCopy()
		next, changed, err := change(current)
		done.change = resourceChange{before, next}
		done.leaves = err == nil && !isActive(next)
		return next, changed, err
	}, x.condition())
	return done, err
}

// deactivate is the change of a request of which nothing but active: false is taken.
func deactivate(current protocol.Resource) (protocol.Resource, bool, error) {
	current.Attributes["active"] = false
	return current, true, nil
}

// contentRefused returns the answer to a change that is refused for what it says of the user: values, paths, size, or a name that
// another user has; nil for any other error. It must not keep a leaver's access: Okta does not send a refused deactivation again.
func contentRefused(err error) *protocol.Error {
	var problem *protocol.Error
	if !errors.As(err, &problem) {
		return nil
	}
	switch problem.Status {
	case http.StatusBadRequest, http.StatusConflict, http.StatusRequestEntityTooLarge:
		return problem
	default:
		return nil
	}
}

// deactivates reports whether the body of a PUT or PATCH says active: false, whatever else it says.
func deactivates(schemas *protocol.SchemaSet, method string, body []byte) bool {
	switch method {
	case http.MethodPut:
		return schemas.PutDeactivates(body)
	case http.MethodPatch:
		return schemas.PatchDeactivates(body)
	default:
		return false
	}
}

// mayDeactivate looks at the text of a PUT or PATCH, before it is known what that does: creates are to wait from the beginning.
// Where it is wrong they wait in vain for a moment, or not at all.
func mayDeactivate(body []byte) bool { return deactivation.Match(body) }

// deactivation is how clients write active: false, as an attribute, and as an operation's path before or after its value.
var deactivation = regexp.MustCompile(`(?i)active"\s*(?:,\s*"value"\s*)?:\s*(?:\[\s*\{[^{}]*"value"\s*:\s*)?"?false|"value"\s*:\s*"?false"?\s*,[^{}]*active"`)

func isActive(resource protocol.Resource) bool {
	active, _ := resource.Attributes["active"].(bool)
	return active
}

// confirmRevocation holds the answer until the person's access is gone, so that Okta's log says what is true. The
// wait is bounded; the deactivation itself is in etcd already.
func (s userHandlers) confirmRevocation(x *exchange, user *v1alpha1.User) {
	wait := x.app.Spec.Deactivation.Confirmation()
	if wait <= 0 {
		return
	}
	ctx, span := tracing.Begin(x.context(), "wait until access is gone")
	defer span.End()
	switch s.directory.Users.WaitRevoked(ctx, user, wait) {
	case directory.Revoked:
		x.countDeactivation(true)
	case directory.RevocationOutlasted:
		x.countDeactivation(false)
		x.log.Info("Answered a deactivation that another binding outlasts: one of a group, until tokens expire, or of another user of the same Kubernetes name", "id", user.Name)
	default:
		x.countDeactivation(false)
		x.warnUnconfirmed("Answered a deactivation before its access was confirmed gone", user.Name, wait)
	}
}

func (x *exchange) countDeactivation(confirmed bool) {
	deactivations.WithLabelValues(x.app.Namespace, x.app.Name, strconv.FormatBool(confirmed)).Inc()
}

// warnUnconfirmed logs that the controller has not said, within the wait, that a user's access is gone: no leader runs, or it is
// held up.
func (x *exchange) warnUnconfirmed(message, id string, waited time.Duration) {
	x.warn(message, "id", id, "waited", waited.String())
}

// warn logs at a level that logr does not have, and slog below it has.
func (x *exchange) warn(message string, values ...any) {
	slog.New(logr.ToSlogHandler(x.log)).Warn(message, append(values, "namespace", x.app.Namespace, "app", x.app.Name)...)
}

// deleteUser answers DELETE /Users/{id} (RFC 7644 section 3.6): the bindings go, then the object, then the name.
func (s userHandlers) deleteUser(x *exchange) error {
	x.resourceID = x.route.id
	if !x.app.Spec.Provisioning.DeactivatesUsers() {
		return switchedOff(x.app, "deactivateUsers")
	}
	defer s.apps.BeginRemoval(x.credential.app, x.limits)()
	started := time.Now()
	wait := x.app.Spec.Deactivation.Confirmation()
	reached, err := s.directory.Users.Delete(x.context(), x.app, x.route.id, wait, x.condition())
	if err != nil {
		return err
	}
	x.audit(auditDelete, "User", x.route.id)
	if wait > 0 {
		x.countDeactivation(reached == directory.Revoked)
		if reached == directory.RevocationPending {
			x.warnUnconfirmed("Answered a deletion before its access was confirmed gone", x.route.id, time.Since(started))
		}
	}
	x.noContent()
	return nil
}

// listUsers answers GET /Users (RFC 7644 section 3.4.2). A page of whole users is a copy of what the read model has rendered.
func (s userHandlers) listUsers(x *exchange) error {
	query, err := parseListQuery(x.route.endpoint, x.query())
	if err != nil {
		return err
	}
	return s.answerUsers(x, query)
}

func (s userHandlers) answerUsers(x *exchange, query listQuery) error {
	if err := checkImport(x.app, query); err != nil {
		return err
	}
	return s.users(x).list(x, query)
}

// users is the App's users as lists go through them. Where importing is off, a list without a filter that checkImport lets
// pass shows none.
func (s userHandlers) users(x *exchange) collection[*directory.Entry] {
	base, paced := s.baseURL(x), directory.WithPace(x.context(), x.step)
	users := collection[*directory.Entry]{
		schemas: s.directory.Users.Schemas(x.app),
		page: func(startIndex, count int) ([]*directory.Entry, int) {
			return s.directory.Users.Page(x.app, startIndex, count)
		},
		after: func(created time.Time, id string, count int) ([]*directory.Entry, int) {
			return s.directory.Users.After(x.app, created, id, count)
		},
		before: func(created time.Time, id string, count int) []*directory.Entry {
			return s.directory.Users.Before(x.app, created, id, count)
		},
		find: func(filter *protocol.Filter) ([]*directory.Entry, error) {
			return s.directory.Users.Find(paced, x.app, filter, base)
		},
		complete: func(user *directory.Entry) (map[string]any, error) {
			return s.directory.Users.Complete(x.app, base, user)
		},
		render: func(w *answerWriter, user *directory.Entry, projection protocol.Projection) error {
			return w.grow(func(dst []byte) ([]byte, error) {
				return s.directory.Users.Append(dst, x.app, base, user, projection)
			})
		},
		step:       x.step,
		positionOf: func(user *directory.Entry) (time.Time, string) { return user.CreatedAt(), user.ID() },
		ordered: func(by protocol.Sort, startIndex, count int) ([]row[*directory.Entry], int, bool, error) {
			sorted, total, ok, err := s.directory.Users.Ordered(paced, x.app, by, startIndex, count)
			return rowsOf(sorted), total, ok, err
		},
		orderedAfter: func(by protocol.Sort, position row[*directory.Entry], count int) ([]row[*directory.Entry], int, bool, error) {
			sorted, total, ok, err := s.directory.Users.OrderedAfter(paced, x.app, by, position.key, position.created, position.id, count)
			return rowsOf(sorted), total, ok, err
		},
		orderedBefore: func(by protocol.Sort, position row[*directory.Entry], count int) ([]row[*directory.Entry], error) {
			sorted, err := s.directory.Users.OrderedBefore(paced, x.app, by, position.key, position.created, position.id, count)
			return rowsOf(sorted), err
		},
	}
	if !x.app.Spec.Provisioning.ImportsUsers() {
		users.page = func(int, int) ([]*directory.Entry, int) { return nil, 0 }
		users.after = func(time.Time, string, int) ([]*directory.Entry, int) { return nil, 0 }
		users.before = func(time.Time, string, int) []*directory.Entry { return nil }
		users.ordered, users.orderedAfter = nil, nil
	}
	return users
}

func rowsOf(sorted []directory.Sorted) []row[*directory.Entry] {
	rows := make([]row[*directory.Entry], len(sorted))
	for i, one := range sorted {
		rows[i] = row[*directory.Entry]{item: one.User, key: one.Key, created: one.User.CreatedAt(), id: one.User.ID()}
	}
	return rows
}

// answerUser answers one user, with the attributes that the request asks for.
func (s userHandlers) answerUser(x *exchange, status int, user *v1alpha1.User) error {
	meta := s.directory.Users.Meta(user, s.baseURL(x))
	x.resourceID = user.Name
	projection, err := parseProjection(x.query())
	if err != nil {
		return err
	}
	body, err := s.renderUser(x, user, meta, projection)
	if err != nil {
		return err
	}
	x.writer.Header().Set("ETag", meta.Version)
	x.answer(status, body)
	return nil
}

func (s userHandlers) renderUser(x *exchange, user *v1alpha1.User, meta protocol.Meta, projection protocol.Projection) ([]byte, error) {
	resource, err := directory.Resource(user)
	if err != nil {
		return nil, err
	}
	return s.directory.Users.Schemas(x.app).Render(resource, meta, projection)
}
