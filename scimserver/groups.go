package scimserver

import (
	"github.com/scim-operator/scim-operator/scimserver/protocol"
)

// This version takes no groups. Lists of them are truly empty, so that the connection test and the import of an app
// that has group actions ticked pass, and a push says what is missing.

func (s *Server) listGroups(x *exchange) error {
	query, err := parseListQuery(x.request.URL.Query())
	if err != nil {
		return err
	}
	if query.filter != "" {
		if _, err := protocol.ParseFilter(query.filter); err != nil {
			return err
		}
	}
	x.answerList(query, 0, nil)
	return nil
}

func (s *Server) getGroup(*exchange) error {
	return protocol.NotFound("There is no group with this id.")
}

func (s *Server) pushGroup(*exchange) error {
	return protocol.NotImplemented("Groups cannot be pushed to this version of scim-operator. Untick Push Groups in the app.")
}
