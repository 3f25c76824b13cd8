package scimserver

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/scimserver/directory"
	"github.com/scim-operator/scim-operator/scimserver/protocol"
)

// maxUserBody bounds the body of a request about one user, in bytes: what the directory keeps of one.
const maxUserBody = 256 << 10

// createUser answers POST /Users (RFC 7644 section 3.3). A person whom the client knows already by externalId is
// restored with the same id: Okta posts again after a deactivation, and would never get past a 409.
func (s *Server) createUser(x *exchange) error {
	if !x.app.Spec.Provisioning.CreatesUsers() {
		return switchedOff(x.app, "createUsers")
	}
	body, err := x.body(maxUserBody)
	if err != nil {
		return err
	}
	schemas := s.directory.Schemas(x.app)
	resource, err := schemas.DecodeUser(body)
	if err != nil {
		return err
	}
	if err := schemas.Validate(resource); err != nil {
		return err
	}
	user, _, err := s.directory.CreateUser(x.context(), x.app, resource)
	if err != nil {
		return err
	}
	x.writer.Header().Set("Location", directory.Meta(user, s.baseURL(x)).Location)
	return s.answerUser(x, http.StatusCreated, user)
}

// getUser answers GET /Users/{id} from the API server itself (RFC 7644 section 3.4.1).
func (s *Server) getUser(x *exchange) error {
	x.resourceID = x.route.id
	user, err := s.directory.GetUser(x.context(), x.app, x.route.id)
	if err != nil {
		return err
	}
	return s.answerUser(x, http.StatusOK, user)
}

// replaceUser answers PUT /Users/{id} (RFC 7644 section 3.5.1).
func (s *Server) replaceUser(x *exchange) error {
	return s.changeUser(x, func(schemas *protocol.SchemaSet, body []byte) directory.Change {
		return func(current protocol.Resource) (protocol.Resource, bool, error) {
			next, err := schemas.DecodeUser(body)
			if err != nil {
				return protocol.Resource{}, false, err
			}
			if _, sent := next.Attributes["active"]; !sent {
				// Silence about active neither deactivates a person nor brings back one who left.
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
func (s *Server) patchUser(x *exchange) error {
	return s.changeUser(x, func(schemas *protocol.SchemaSet, body []byte) directory.Change {
		return func(current protocol.Resource) (protocol.Resource, bool, error) {
			return schemas.ApplyPatch(current, body)
		}
	})
}

// changeUser runs a PUT or PATCH. A change is refused for its form only: a refused profile push makes Okta forget the
// person, and the deactivation would never come.
func (s *Server) changeUser(x *exchange, change func(*protocol.SchemaSet, []byte) directory.Change) error {
	x.resourceID = x.route.id
	body, err := x.body(maxUserBody)
	if err != nil {
		return err
	}
	schemas := s.directory.Schemas(x.app)
	apply := change(schemas, body)
	var leaves bool
	user, err := s.directory.UpdateUser(x.context(), x.app, x.route.id, func(current protocol.Resource) (protocol.Resource, bool, error) {
		next, changed, err := apply(current)
		if err != nil {
			return next, false, err
		}
		if err := schemas.ValidateUpdate(next); err != nil {
			return next, false, err
		}
		wasActive, isActive := isActive(current), isActive(next)
		leaves = !isActive
		if wasActive && !isActive && !x.app.Spec.Provisioning.DeactivatesUsers() {
			return next, false, switchedOff(x.app, "deactivateUsers")
		}
		if !x.app.Spec.Provisioning.UpdatesUsers() {
			next = current.DeepCopy()
			next.Attributes["active"] = isActive
			changed = wasActive != isActive
		}
		return next, changed, nil
	})
	if err != nil {
		return err
	}
	if leaves {
		s.confirmRevocation(x, user)
	}
	return s.answerUser(x, http.StatusOK, user)
}

func isActive(resource protocol.Resource) bool {
	active, _ := resource.Attributes["active"].(bool)
	return active
}

// confirmRevocation holds the answer until the person's access is gone, so that Okta's log says what is true. The
// wait is bounded; the deactivation itself is in etcd already.
func (s *Server) confirmRevocation(x *exchange, user *v1alpha1.User) {
	wait := x.app.Spec.Deactivation.Confirmation()
	if wait <= 0 {
		return
	}
	if s.directory.WaitRevoked(x.context(), user, wait) {
		revocations.WithLabelValues("true").Inc()
		return
	}
	revocations.WithLabelValues("false").Inc()
	x.log.Info("Answered a deactivation before its access was confirmed gone", "id", user.Name, "waited", wait.String())
}

// deleteUser answers DELETE /Users/{id} (RFC 7644 section 3.6): the bindings go, then the object, then the name.
func (s *Server) deleteUser(x *exchange) error {
	x.resourceID = x.route.id
	if !x.app.Spec.Provisioning.DeactivatesUsers() {
		return switchedOff(x.app, "deactivateUsers")
	}
	started := time.Now()
	wait := x.app.Spec.Deactivation.Confirmation()
	if err := s.directory.DeleteUser(x.context(), x.app, x.route.id, wait); err != nil {
		return err
	}
	if took := time.Since(started); took > wait {
		x.log.Info("Answered a deletion before its access was confirmed gone", "id", x.route.id, "waited", wait.String())
	}
	x.noContent()
	return nil
}

// listUsers answers GET /Users (RFC 7644 section 3.4.2).
func (s *Server) listUsers(x *exchange) error {
	query, err := parseListQuery(x.request.URL.Query())
	if err != nil {
		return err
	}
	if query.filter == "" {
		if !x.app.Spec.Provisioning.ImportsUsers() {
			x.answerList(query, 0, nil)
			return nil
		}
		return s.answerPage(x, query)
	}
	filter, err := protocol.ParseFilter(query.filter)
	if err != nil {
		return err
	}
	schemas := s.directory.Schemas(x.app)
	if filter, err = filter.Bind(schemas); err != nil {
		return err
	}
	matches, err := s.directory.Find(x.context(), x.app, filter, s.baseURL(x))
	if err != nil {
		return err
	}
	return s.answerUsers(x, query, pageOf(matches, query), len(matches))
}

// answerPage answers a page of all users. Without a projection it is a copy of what the read model has rendered.
func (s *Server) answerPage(x *exchange, query listQuery) error {
	if query.projection.IsZero() {
		resources, total, err := s.directory.List(x.app, s.baseURL(x), query.startIndex, query.count)
		if err != nil {
			return err
		}
		x.answerList(query, total, resources)
		return nil
	}
	users, total := s.directory.Users(x.app, query.startIndex, query.count)
	return s.answerUsers(x, query, users, total)
}

// answerUsers answers the users of one page, with the attributes that the request asks for.
func (s *Server) answerUsers(x *exchange, query listQuery, page []*v1alpha1.User, total int) error {
	resources := make([]json.RawMessage, 0, len(page))
	for _, user := range page {
		rendered, err := s.render(x, user, query.projection)
		if err != nil {
			return err
		}
		resources = append(resources, rendered)
	}
	x.answerList(query, total, resources)
	return nil
}

// answerUser answers one user, with the attributes that the request asks for.
func (s *Server) answerUser(x *exchange, status int, user *v1alpha1.User) error {
	x.resourceID = user.Name
	projection, err := parseProjection(x.request.URL.Query())
	if err != nil {
		return err
	}
	body, err := s.render(x, user, projection)
	if err != nil {
		return err
	}
	x.answer(status, body)
	return nil
}

func (s *Server) render(x *exchange, user *v1alpha1.User, projection protocol.Projection) ([]byte, error) {
	resource, err := directory.Resource(user)
	if err != nil {
		return nil, err
	}
	return s.directory.Schemas(x.app).Render(resource, directory.Meta(user, s.baseURL(x)), projection)
}

func switchedOff(app *v1alpha1.App, action string) error {
	return protocol.NotImplemented("The App %s does not take this action: spec.provisioning.%s is false.", app.Name, action)
}
