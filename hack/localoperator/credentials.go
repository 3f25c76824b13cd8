package localoperator

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"k8s.io/utils/ptr"
)

const (
	tokenLifetime   = 24 * time.Hour
	renewalInterval = 30 * time.Second // between attempts, once one has failed
)

// ServiceAccountKubeconfig writes a kubeconfig for the ServiceAccount to path, and its token to path + ".token", both
// readable by their owner only. The account must exist. The token file is renewed at half of the token's life until ctx
// ends; clients read it anew by themselves. It fails where no first token can be had or written.
func ServiceAccountKubeconfig(ctx context.Context, config *rest.Config, namespace, name, path string) error {
	path, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	clientset, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	account := serviceAccount{clientset: clientset, namespace: namespace, name: name, tokenFile: path + ".token"}
	renewAt, err := account.writeToken(ctx)
	if err != nil {
		return err
	}
	if err := writeKubeconfig(config, name, account.tokenFile, path); err != nil {
		return fmt.Errorf("writing the kubeconfig of ServiceAccount %s/%s: %w", namespace, name, err)
	}
	go account.renew(ctx, renewAt)
	return nil
}

type serviceAccount struct {
	clientset       kubernetes.Interface
	namespace, name string
	tokenFile       string
}

// writeToken puts a fresh token into the file and returns when to do so again.
func (a serviceAccount) writeToken(ctx context.Context) (renewAt time.Time, err error) {
	requested := time.Now()
	request, err := a.clientset.CoreV1().ServiceAccounts(a.namespace).CreateToken(ctx, a.name, &authenticationv1.TokenRequest{
		Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: ptr.To(int64(tokenLifetime.Seconds()))},
	}, metav1.CreateOptions{})
	if err != nil {
		return time.Time{}, fmt.Errorf("requesting a token of ServiceAccount %s/%s: %w", a.namespace, a.name, err)
	}
	if err := writeFileAtomically(a.tokenFile, []byte(request.Status.Token)); err != nil {
		return time.Time{}, err
	}
	return requested.Add(request.Status.ExpirationTimestamp.Sub(requested) / 2), nil
}

func (a serviceAccount) renew(ctx context.Context, at time.Time) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Until(at)):
		}
		next, err := a.writeToken(ctx)
		if err != nil {
			if ctx.Err() == nil {
				slog.Warn("Could not renew a token, trying again", "after", renewalInterval, "error", err)
			}
			next = time.Now().Add(renewalInterval)
		}
		at = next
	}
}

func writeKubeconfig(config *rest.Config, user, tokenFile, path string) error {
	cluster := rest.CopyConfig(config)
	if err := rest.LoadTLSFiles(cluster); err != nil {
		return err
	}
	const name = "scim-operator-dev"
	kubeconfig := clientcmdapi.NewConfig()
	kubeconfig.Clusters[name] = &clientcmdapi.Cluster{Server: cluster.Host, CertificateAuthorityData: cluster.CAData}
	kubeconfig.AuthInfos[user] = &clientcmdapi.AuthInfo{TokenFile: tokenFile}
	kubeconfig.Contexts[name] = &clientcmdapi.Context{Cluster: name, AuthInfo: user}
	kubeconfig.CurrentContext = name
	data, err := clientcmd.Write(*kubeconfig)
	if err != nil {
		return err
	}
	return writeFileAtomically(path, data)
}

// writeFileAtomically never shows a reader half of the content.
func writeFileAtomically(path string, data []byte) error {
	file, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*") // mode 0600
	if err != nil {
		return err
	}
	_, err = file.Write(data)
	if err = errors.Join(err, file.Close()); err != nil {
		return errors.Join(err, os.Remove(file.Name()))
	}
	return os.Rename(file.Name(), path)
}
