// Package publickeys reads the public keys that signed JWTs are verified with, and says which algorithms suit a key. It is pure.
package publickeys

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4"
)

// RSA keys below minRSA bits are weak (RFC 7518 section 3.3), and above maxRSA cost too much to verify with.
const minRSA, maxRSA = 2048, 4096

// Supported says which keys Algorithms are of.
var Supported = fmt.Sprintf("RSA of %d to %d bits, P-256, P-384, P-521 or Ed25519", minRSA, maxRSA)

// Algorithms that JWTs may be signed with: asymmetric ones alone, so that no public key is ever taken for a secret.
var Algorithms = []jose.SignatureAlgorithm{
	jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512, jose.ES256, jose.ES384, jose.ES512, jose.EdDSA,
}

// AlgorithmNames are the names of Algorithms.
func AlgorithmNames() []string {
	names := make([]string, len(Algorithms))
	for i, algorithm := range Algorithms {
		names[i] = string(algorithm)
	}
	return names
}

// AlgorithmsOf returns those of Algorithms that signatures of a key may have: the one that it names, of those of its kind. None for a key
// that is not supported.
func AlgorithmsOf(of *jose.JSONWebKey) []jose.SignatureAlgorithm {
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
	if named := jose.SignatureAlgorithm(of.Algorithm); slices.Contains(kind, named) {
		return []jose.SignatureAlgorithm{named}
	}
	return nil
}

var (
	errNoKey   = errors.New("is neither a public key in PEM (BEGIN PUBLIC KEY) nor a JWK")
	errPrivate = errors.New("is a private or secret key: list the public key alone, and make another pair, since this one has been shown")
	errUse     = errors.New("is not for signatures: its use is not sig")
	errSuited  = errors.New("is of no kind that is supported (" + Supported + "), or its alg does not suit its kind")
)

// Parse reads one public key, in PEM (RFC 7468 section 13) or as a JWK (RFC 7517). The error says what is wrong with it, and holds
// nothing of it.
func Parse(text string) (*jose.JSONWebKey, error) {
	text = strings.TrimSpace(text)
	key := &jose.JSONWebKey{}
	if strings.HasPrefix(text, "{") {
		if json.Unmarshal([]byte(text), key) != nil {
			return nil, errNoKey
		}
	} else {
		block, rest := pem.Decode([]byte(text))
		if block == nil || block.Type != "PUBLIC KEY" || len(rest) > 0 {
			return nil, errNoKey
		}
		public, err := x509.ParsePKIXPublicKey(block.Bytes)
		if err != nil {
			return nil, errNoKey
		}
		key.Key = public
	}
	switch {
	case !isPublic(key):
		return nil, errPrivate
	case key.Use != "" && key.Use != "sig":
		return nil, errUse
	case len(AlgorithmsOf(key)) == 0:
		return nil, errSuited
	}
	return key, nil
}

// isPublic says whether a key is no private and no secret one.
func isPublic(key *jose.JSONWebKey) bool {
	switch key.Key.(type) {
	case *rsa.PrivateKey, *ecdsa.PrivateKey, ed25519.PrivateKey, []byte:
		return false
	}
	return true
}
