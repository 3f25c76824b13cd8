package publickeys

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"slices"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
)

func must[T any](t *testing.T) func(T, error) T {
	t.Helper()
	return func(value T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
}

func inPEM(t *testing.T, kind string, public any) string {
	t.Helper()
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: must[[]byte](t)(x509.MarshalPKIXPublicKey(public))}))
}

func inJWK(t *testing.T, key any, change func(*jose.JSONWebKey)) string {
	t.Helper()
	web := jose.JSONWebKey{Key: key, KeyID: "one"}
	if change != nil {
		change(&web)
	}
	return string(must[[]byte](t)(web.MarshalJSON()))
}

func TestParse(t *testing.T) {
	ec := func(curve elliptic.Curve) *ecdsa.PrivateKey {
		return must[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(curve, rand.Reader))
	}
	p256 := ec(elliptic.P256())
	rsa2048 := must[*rsa.PrivateKey](t)(rsa.GenerateKey(rand.Reader, 2048))
	edPublic, edPrivate, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("GODEBUG", "rsa1024min=0")
	rsa1024 := must[*rsa.PrivateKey](t)(rsa.GenerateKey(rand.Reader, 1024))
	private := string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: must[[]byte](t)(x509.MarshalPKCS8PrivateKey(p256))}))
	for name, test := range map[string]struct {
		text string
		want jose.SignatureAlgorithm
		err  string
	}{
		"P-256 in PEM":            {inPEM(t, "PUBLIC KEY", p256.Public()), jose.ES256, ""},
		"with space around":       {"\n " + inPEM(t, "PUBLIC KEY", p256.Public()) + "\n\n", jose.ES256, ""},
		"P-384 in PEM":            {inPEM(t, "PUBLIC KEY", ec(elliptic.P384()).Public()), jose.ES384, ""},
		"P-521 as a JWK":          {inJWK(t, ec(elliptic.P521()).Public(), nil), jose.ES512, ""},
		"RSA in PEM":              {inPEM(t, "PUBLIC KEY", rsa2048.Public()), jose.RS256, ""},
		"RSA for PS384 alone":     {inJWK(t, rsa2048.Public(), func(k *jose.JSONWebKey) { k.Algorithm, k.Use = "PS384", "sig" }), jose.PS384, ""},
		"Ed25519 in PEM":          {inPEM(t, "PUBLIC KEY", edPublic), jose.EdDSA, ""},
		"Ed25519 as a JWK":        {inJWK(t, edPublic, nil), jose.EdDSA, ""},
		"P-224":                   {inPEM(t, "PUBLIC KEY", ec(elliptic.P224()).Public()), "", "no kind that is supported"},
		"RSA of 1024 bits":        {inPEM(t, "PUBLIC KEY", rsa1024.Public()), "", "no kind that is supported"},
		"an alg of another kind":  {inJWK(t, p256.Public(), func(k *jose.JSONWebKey) { k.Algorithm = "RS256" }), "", "no kind that is supported"},
		"an alg with a secret":    {inJWK(t, rsa2048.Public(), func(k *jose.JSONWebKey) { k.Algorithm = "HS256" }), "", "no kind that is supported"},
		"for encryption":          {inJWK(t, rsa2048.Public(), func(k *jose.JSONWebKey) { k.Use = "enc" }), "", "use is not sig"},
		"a private key as a JWK":  {inJWK(t, p256, nil), "", "private or secret"},
		"a private RSA JWK":       {inJWK(t, rsa2048, nil), "", "private or secret"},
		"a private Ed25519 JWK":   {inJWK(t, edPrivate, nil), "", "private or secret"},
		"a secret as a JWK":       {inJWK(t, []byte(strings.Repeat("s", 32)), nil), "", "private or secret"},
		"a private key in PEM":    {private, "", "neither"},
		"two keys in one text":    {inPEM(t, "PUBLIC KEY", edPublic) + inPEM(t, "PUBLIC KEY", edPublic), "", "neither"},
		"another block":           {inPEM(t, "CERTIFICATE", edPublic), "", "neither"},
		"a broken block":          {strings.Replace(inPEM(t, "PUBLIC KEY", edPublic), "MCow", "MCox", 1), "", "neither"},
		"a JWK off its curve":     {`{"kty":"EC","crv":"P-256","x":"AAAA","y":"AAAA"}`, "", "neither"},
		"a set in place of a key": {`{"keys":[` + inJWK(t, edPublic, nil) + `]}`, "", "neither"},
		"nothing":                 {"", "", "neither"},
		"text":                    {"ssh-ed25519 AAAA", "", "neither"},
	} {
		t.Run(name, func(t *testing.T) {
			key, err := Parse(test.text)
			switch {
			case test.err == "" && err != nil:
				t.Fatal(err)
			case test.err != "":
				if err == nil || !strings.Contains(err.Error(), test.err) {
					t.Fatalf("got %v, want %q", err, test.err)
				}
				return
			}
			if got := AlgorithmsOf(key); !slices.Contains(got, test.want) {
				t.Errorf("algorithms %v lack %s", got, test.want)
			}
		})
	}
}

func TestAlgorithmsHaveNoSecret(t *testing.T) {
	if len(AlgorithmNames()) == 0 {
		t.Error("there is no algorithm")
	}
	for _, name := range AlgorithmNames() {
		if strings.HasPrefix(name, "HS") || strings.EqualFold(name, "none") {
			t.Errorf("%s is one", name)
		}
	}
}

// The numbers stand for keys of these sizes; AlgorithmsOf looks at nothing else of them.
func TestSizesOfRSAKeys(t *testing.T) {
	for bits, want := range map[int]bool{minRSA - 1: false, minRSA: true, maxRSA: true, maxRSA + 1: false} {
		key := &jose.JSONWebKey{Key: &rsa.PublicKey{N: new(big.Int).Lsh(big.NewInt(1), uint(bits-1)), E: 65537}}
		if got := AlgorithmsOf(key); (len(got) > 0) != want {
			t.Errorf("%d bits: %v", bits, got)
		}
	}
}
