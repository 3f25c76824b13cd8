package issuers

import (
	"encoding/json"

	"github.com/go-jose/go-jose/v4"

	"github.com/scim-operator/scim-operator/internal/publickeys"
)

const maxKeys = 100

// key is one public key of an issuer.
type key struct {
	jose.JSONWebKey
	// algorithms that a signature of the key may have.
	algorithms []jose.SignatureAlgorithm
}

// parseKeys reads a JWK Set (RFC 7517 section 5). Keys that are not for signatures, or of a kind or size that is not supported, are left
// out. It fails where the set is none, or has more than maxKeys.
func parseKeys(document []byte) ([]key, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if json.Unmarshal(document, &set) != nil {
		return nil, unreadable("the key set is no JSON object as RFC 7517 has it")
	}
	if len(set.Keys) > maxKeys {
		return nil, unreadable("the key set has more than %d keys", maxKeys)
	}
	var keys []key
	for _, text := range set.Keys {
		var each jose.JSONWebKey
		if json.Unmarshal(text, &each) != nil || each.Use != "" && each.Use != "sig" {
			continue
		}
		if suited := publickeys.AlgorithmsOf(&each); len(suited) > 0 {
			keys = append(keys, key{each, suited})
		}
	}
	if len(keys) == 0 {
		return nil, unreadable("the key set has no key for signatures that is supported: %s", publickeys.Supported)
	}
	return keys, nil
}
