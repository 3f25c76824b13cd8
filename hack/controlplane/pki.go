package controlplane

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"

	"k8s.io/client-go/util/cert"
	"k8s.io/client-go/util/keyutil"
)

// leafLifetime is longer than any control plane runs: each Start makes a new certificate.
const leafLifetime = 30 * 24 * time.Hour

// authority is the one certificate authority of a control plane: it signs the API server's
// serving certificate and the certificates of people. It is kept beside the data, so that
// kubeconfigs written before a restart still work after it.
type authority struct {
	certificate *x509.Certificate
	key         crypto.Signer
	pem         []byte
}

// loadAuthority reads the authority in the directory, or makes one.
func loadAuthority(dir string) (*authority, error) {
	certFile, keyFile := filepath.Join(dir, "ca.crt"), filepath.Join(dir, "ca.key")
	key, err := loadKey(keyFile)
	if err != nil {
		return nil, err
	}
	data, err := os.ReadFile(certFile)
	if errors.Is(err, fs.ErrNotExist) {
		certificate, err := cert.NewSelfSignedCACert(cert.Config{CommonName: "scim-operator development"}, key)
		if err != nil {
			return nil, fmt.Errorf("making the certificate authority: %w", err)
		}
		data = encodeCertificate(certificate.Raw)
		if err := os.WriteFile(certFile, data, 0o644); err != nil {
			return nil, err
		}
	} else if err != nil {
		return nil, err
	}
	certificates, err := cert.ParseCertsPEM(data)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", certFile, err)
	}
	return &authority{certificate: certificates[0], key: key, pem: data}, nil
}

// loadKey reads the private key in the file, or makes one, readable by its owner only.
func loadKey(path string) (crypto.Signer, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, err
		}
		data, err := keyutil.MarshalPrivateKeyToPEM(key)
		if err != nil {
			return nil, err
		}
		return key, os.WriteFile(path, data, 0o600)
	}
	if err != nil {
		return nil, err
	}
	parsed, err := keyutil.ParsePrivateKeyPEM(data)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	key, ok := parsed.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("reading %s: a %T does not sign", path, parsed)
	}
	return key, nil
}

// issue signs a certificate for a fresh key and returns both in PEM.
func (a *authority) issue(template *x509.Certificate) (certificate, privateKey []byte, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	template.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, nil, err
	}
	template.NotBefore = time.Now().Add(-5 * time.Minute)
	template.NotAfter = time.Now().Add(leafLifetime)
	template.KeyUsage = x509.KeyUsageDigitalSignature
	raw, err := x509.CreateCertificate(rand.Reader, template, a.certificate, key.Public(), a.key)
	if err != nil {
		return nil, nil, fmt.Errorf("signing a certificate: %w", err)
	}
	privateKey, err = keyutil.MarshalPrivateKeyToPEM(key)
	return encodeCertificate(raw), privateKey, err
}

// writeServing writes dir/name.crt and dir/name.key: a certificate to serve with, for loopback
// names only, and to connect with. It belongs to no group, so the API server gives it no rights.
func (a *authority) writeServing(dir, name string) error {
	certificate, key, err := a.issue(&x509.Certificate{
		Subject:     pkix.Name{CommonName: name},
		DNSNames:    []string{"localhost"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, name+".crt"), certificate, 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, name+".key"), key, 0o600)
}

// issueClient makes a certificate that the API server takes for the user and the groups.
func (a *authority) issueClient(user string, groups []string) (certificate, key []byte, err error) {
	return a.issue(&x509.Certificate{
		Subject:     pkix.Name{CommonName: user, Organization: groups},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
}

// writeServiceAccountKeys makes sure of the key pair that signs ServiceAccount tokens: kept,
// a token outlives a restart.
func writeServiceAccountKeys(privateFile, publicFile string) error {
	key, err := loadKey(privateFile)
	if err != nil {
		return err
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return err
	}
	return os.WriteFile(publicFile, encodePEM("PUBLIC KEY", der), 0o644)
}
