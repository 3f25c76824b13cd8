package scimserver

import "github.com/scim-operator/scim-operator/scimserver/protocol"

// me answers every request on /Me. A token opens an App and stands for no person, so there is nobody to be (RFC 7644
// section 3.11 has 501 for that).
func (s *Server) me(*exchange) error {
	return protocol.NotImplemented("/Me is not supported: the token stands for an App, not for a person.")
}
