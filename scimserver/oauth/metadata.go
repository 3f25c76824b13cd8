package oauth

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/scim-operator/scim-operator/internal/publickeys"
)

// metadata answers RFC 8414: what the clients of this App can do.
func (s *Server) metadata(_ context.Context, call *Call) (*Answer, error) {
	base := call.Issuer + "/oauth/"
	spec := call.App.Spec.OAuth
	var methods, grants []string
	scopes := []string{scopeAll, "read", "users", "groups"}
	document := map[string]any{
		"issuer": call.Issuer, "token_endpoint": base + "token", "revocation_endpoint": base + "revoke", "response_types_supported": []string{},
	}
	if spec.ClientID != "" {
		methods, grants = []string{"client_secret_basic", "client_secret_post"}, []string{"authorization_code", "refresh_token"}
		scopes = append(scopes, "offline_access")
		document["authorization_endpoint"] = base + "authorize"
		document["response_types_supported"], document["response_modes_supported"] = []string{"code"}, []string{"query"}
		document["code_challenge_methods_supported"], document["authorization_response_iss_parameter_supported"] = []string{"S256"}, true
	}
	if len(spec.MachineClients) > 0 {
		methods, grants = append(methods, "private_key_jwt"), append(grants, "client_credentials")
		document["token_endpoint_auth_signing_alg_values_supported"] = publickeys.AlgorithmNames()
		document["revocation_endpoint_auth_signing_alg_values_supported"] = publickeys.AlgorithmNames()
	}
	document["token_endpoint_auth_methods_supported"], document["revocation_endpoint_auth_methods_supported"] = methods, methods
	document["grant_types_supported"], document["scopes_supported"] = grants, scopes
	body, err := json.Marshal(document)
	if err != nil {
		return nil, err
	}
	return &Answer{Status: http.StatusOK, Body: body, Header: http.Header{
		"Content-Type": {"application/json"}, "Cache-Control": {"no-store"}, "X-Content-Type-Options": {"nosniff"},
	}}, nil
}
