package oauth

import (
	"context"
	"encoding/json"
	"net/http"
)

// metadata answers RFC 8414.
func (s *Server) metadata(_ context.Context, call *Call) (*Answer, error) {
	base := call.Issuer + "/oauth/"
	secrets := []string{"client_secret_basic", "client_secret_post"}
	body, err := json.Marshal(map[string]any{
		"issuer":                                call.Issuer,
		"authorization_endpoint":                base + "authorize",
		"token_endpoint":                        base + "token",
		"revocation_endpoint":                   base + "revoke",
		"scopes_supported":                      []string{scopeAll, "read", "users", "groups", "offline_access"},
		"response_types_supported":              []string{"code"},
		"response_modes_supported":              []string{"query"},
		"grant_types_supported":                 []string{"authorization_code", "refresh_token"},
		"token_endpoint_auth_methods_supported": secrets, "revocation_endpoint_auth_methods_supported": secrets,
		"code_challenge_methods_supported":               []string{"S256"},
		"authorization_response_iss_parameter_supported": true,
	})
	if err != nil {
		return nil, err
	}
	return &Answer{Status: http.StatusOK, Body: body, Header: http.Header{
		"Content-Type": {"application/json"}, "Cache-Control": {"no-store"}, "X-Content-Type-Options": {"nosniff"},
	}}, nil
}
