package controlplane

import (
	"encoding/pem"
	"fmt"
	"os"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"k8s.io/client-go/util/cert"
)

// UserConfig returns a configuration that the API server takes for the user in the groups, by a client certificate. Its
// client does not limit itself: the API server's priority and fairness is the one limit, as in the operator. It fails where
// no certificate can be made.
func (c *ControlPlane) UserConfig(user string, groups ...string) (*rest.Config, error) {
	certificate, key, err := c.authority.issueClient(user, groups)
	if err != nil {
		return nil, err
	}
	return &rest.Config{
		Host: c.URL(),
		TLSClientConfig: rest.TLSClientConfig{
			CAData:   c.authority.pem,
			CertData: certificate,
			KeyData:  key,
		},
		QPS: -1,
	}, nil
}

// Kubeconfig returns a kubeconfig file's content for the user in the groups. Errors are those of UserConfig.
func (c *ControlPlane) Kubeconfig(user string, groups ...string) ([]byte, error) {
	config, err := c.UserConfig(user, groups...)
	if err != nil {
		return nil, err
	}
	return marshalKubeconfig(config, user)
}

// WriteKubeconfig writes Kubeconfig's answer to a file that only its owner can read. Errors are those of Kubeconfig and of
// the file.
func (c *ControlPlane) WriteKubeconfig(path, user string, groups ...string) error {
	data, err := c.Kubeconfig(user, groups...)
	if err != nil {
		return err
	}
	return os.WriteFile(path, data, 0o600)
}

func marshalKubeconfig(config *rest.Config, user string) ([]byte, error) {
	const name = "scim-operator-dev"
	kubeconfig := clientcmdapi.NewConfig()
	kubeconfig.Clusters[name] = &clientcmdapi.Cluster{
		Server:                   config.Host,
		CertificateAuthorityData: config.CAData,
	}
	kubeconfig.AuthInfos[user] = &clientcmdapi.AuthInfo{
		ClientCertificateData: config.CertData,
		ClientKeyData:         config.KeyData,
	}
	kubeconfig.Contexts[name] = &clientcmdapi.Context{Cluster: name, AuthInfo: user}
	kubeconfig.CurrentContext = name
	data, err := clientcmd.Write(*kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("encoding the kubeconfig of %s: %w", user, err)
	}
	return data, nil
}

func encodeCertificate(der []byte) []byte { return encodePEM(cert.CertificateBlockType, der) }

func encodePEM(block string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: block, Bytes: der})
}
