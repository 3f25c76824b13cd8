package scimserver

import "github.com/scim-operator/scim-operator/scimserver/protocol"

// me answers 501 to every request on /Me (RFC 7644 section 3.11). A token opens an App and stands for no person.
func (s *Server) me(*exchange) error {
	return protocol.NotImplemented("/Me is not supported: the token stands for an App, not for a person.")
}
