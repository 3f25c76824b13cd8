package lifecycle_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/scim-operator/scim-operator/test/okta/harness"
)

// upgradable is the API server, as one that tells another version of itself.
type upgradable struct {
	kubeconfig string
	// tells is the answer to /version; empty: the real one.
	tells atomic.Value
	// asked counts what else is asked for.
	asked atomic.Int64
}

func newUpgradable(t *testing.T) *upgradable {
	t.Helper()
	u := &upgradable{kubeconfig: filepath.Join(t.TempDir(), "kubeconfig")}
	u.tells.Store("")
	target, err := url.Parse(operator.Env.Config.Host)
	if err != nil {
		t.Fatal(err)
	}
	forward := httputil.NewSingleHostReverseProxy(target)
	if forward.Transport, err = rest.TransportFor(operator.Env.Config); err != nil {
		t.Fatal(err)
	}
	forward.FlushInterval = -1 // watches
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		tells := u.tells.Load().(string) //nolint:forcetypeassert // nothing else is stored
		switch {
		case request.URL.Path != "/version":
			u.asked.Add(1)
			forward.ServeHTTP(w, request)
		case tells == "":
			forward.ServeHTTP(w, request)
		case tells == "forbidden":
			w.WriteHeader(http.StatusForbidden)
		default:
			_, _ = fmt.Fprint(w, tells)
		}
	}))
	t.Cleanup(server.Close)
	kubeconfig := clientcmdapi.NewConfig()
	kubeconfig.Clusters["c"] = &clientcmdapi.Cluster{Server: server.URL}
	kubeconfig.Contexts["c"] = &clientcmdapi.Context{Cluster: "c"}
	kubeconfig.CurrentContext = "c"
	data, err := clientcmd.Write(*kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(u.kubeconfig, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return u
}

// A server on an API server that is too old says so, asks it for nothing else, and begins once it is upgraded.
func TestAPIServerTooOld(t *testing.T) {
	for _, old := range []string{"v1.33.12", "v1.33.0+k3s1", "v1.9.3-eks-1-2"} {
		t.Run(old, func(t *testing.T) {
			u := newUpgradable(t)
			u.tells.Store(fmt.Sprintf(`{"major":"1","minor":"33+","gitVersion":%q}`, old))
			server, err := operator.BeginServer(t.Context(), "--kubeconfig="+u.kubeconfig)
			if err != nil {
				t.Fatal(err)
			}
			harness.StopAtEnd(t, server)
			harness.Eventually(t, patience, "a server that is not ready", func(ctx context.Context) error {
				return says(ctx, server, "the API server is Kubernetes "+old+": this operator needs 1.34 or later")
			})
			if err := saysTryAgain(t.Context(), server.URL); err != nil {
				t.Errorf("the server answers %v", err)
			}
			if asked := u.asked.Load(); asked > 0 {
				t.Errorf("the server has asked %d other things", asked)
			}
			u.tells.Store("")
			harness.Eventually(t, patience, "a server that is ready", server.Ready)
		})
	}
}

// An API server that does not tell, or tells in another way, is not refused.
func TestAPIServerOfAnUnknownVersion(t *testing.T) {
	for name, answer := range map[string]string{"hidden": "forbidden", "another form": `{"gitVersion":"cloud"}`, "no JSON": "1.33", "newer": `{"gitVersion":"v2.0.0"}`} {
		t.Run(name, func(t *testing.T) {
			u := newUpgradable(t)
			u.tells.Store(answer)
			server, err := operator.BeginServer(t.Context(), "--kubeconfig="+u.kubeconfig)
			if err != nil {
				t.Fatal(err)
			}
			harness.StopAtEnd(t, server)
			harness.Eventually(t, patience, "a server that is ready", server.Ready)
		})
	}
}
