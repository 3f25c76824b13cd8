package scimserver

import (
	"encoding/json"
	"time"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/scimserver/protocol"
)

// This version takes no groups. Lists of them are truly empty, so that the connection test and the import of an app
// that has group actions ticked pass, and a push says what is missing.

func (s *Server) groups(*exchange) collection[*v1alpha1.Group] {
	schemas, err := protocol.NewGroupSchemas()
	if err != nil {
		panic(err)
	}
	return collection[*v1alpha1.Group]{
		schemas: schemas,
		page:    func(int, int) ([]*v1alpha1.Group, int) { return nil, 0 },
		after:   func(time.Time, string, int) ([]*v1alpha1.Group, int) { return nil, 0 },
		find:    func(*protocol.Filter) ([]*v1alpha1.Group, error) { return nil, nil },
		render:  func(*v1alpha1.Group, protocol.Projection) (json.RawMessage, error) { return nil, nil },
	}
}

func (s *Server) listGroups(x *exchange) error {
	query, err := parseListQuery(x.request.URL.Query())
	if err != nil {
		return err
	}
	return s.groups(x).list(x, query)
}

func (s *Server) getGroup(*exchange) error {
	return protocol.NotFound("There is no group with this id.")
}

func (s *Server) createGroup(*exchange) error  { return s.pushGroup() }
func (s *Server) replaceGroup(*exchange) error { return s.pushGroup() }
func (s *Server) patchGroup(*exchange) error   { return s.pushGroup() }
func (s *Server) deleteGroup(*exchange) error  { return s.pushGroup() }

func (s *Server) pushGroup() error {
	return protocol.NotImplemented("Groups cannot be pushed to this version of scim-operator. Untick Push Groups in the app.")
}
