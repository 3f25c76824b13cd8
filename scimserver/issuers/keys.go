package issuers

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/json"

	"github.com/go-jose/go-jose/v4"
)

const (
	maxKeys = 100
	// RSA keys below minRSA bits are weak (RFC 7518 section 3.3), and above maxRSA cost too much to verify with.
	minRSA, maxRSA = 2048, 4096
)

// algorithms that tokens may be signed with: asymmetric ones alone, so that no public key is ever taken for a secret.
var algorithms = []jose.SignatureAlgorithm{
	jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512, jose.ES256, jose.ES384, jose.ES512, jose.EdDSA,
}

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
		if suited := algorithmsOf(each); len(suited) > 0 {
			keys = append(keys, key{each, suited})
		}
	}
	if len(keys) == 0 {
		return nil, unreadable("the key set has no key for signatures that is supported: RSA of %d to %d bits, P-256, P-384, P-521 or Ed25519", minRSA, maxRSA)
	}
	return keys, nil
}

// algorithmsOf returns those that signatures of a key may have: the one that it names, of those of its kind.
func algorithmsOf(of jose.JSONWebKey) []jose.SignatureAlgorithm {
	var kind []jose.SignatureAlgorithm
	switch public := of.Key.(type) {
	case *rsa.PublicKey:
		if bits := public.N.BitLen(); bits >= minRSA && bits <= maxRSA {
			kind = []jose.SignatureAlgorithm{jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512}
		}
	case *ecdsa.PublicKey:
		switch public.Curve.Params().BitSize {
		case 256:
			kind = []jose.SignatureAlgorithm{jose.ES256}
		case 384:
			kind = []jose.SignatureAlgorithm{jose.ES384}
		case 521:
			kind = []jose.SignatureAlgorithm{jose.ES512}
		}
	case ed25519.PublicKey:
		kind = []jose.SignatureAlgorithm{jose.EdDSA}
	}
	if of.Algorithm == "" {
		return kind
	}
	for _, each := range kind {
		if string(each) == of.Algorithm {
			return []jose.SignatureAlgorithm{each}
		}
	}
	return nil
}
