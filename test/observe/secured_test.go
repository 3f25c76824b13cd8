package observe_test

import (
	"crypto/tls"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/scim-operator/scim-operator/hack/localoperator"
	"github.com/scim-operator/scim-operator/hack/process"
	"github.com/scim-operator/scim-operator/test/okta/harness"
)

// startSecured runs a controller with metrics as a Pod has them: by HTTPS, to clients that the API server lets in. It returns the port's host.
func startSecured(t *testing.T) string {
	t.Helper()
	address, err := process.FreeAddress()
	must(t, err)
	_, port, _ := strings.Cut(address, ":")
	binary, err := localoperator.BuildOperator(t.Context())
	must(t, err)
	controller, err := localoperator.StartController(t.Context(), localoperator.ProcessOptions{
		Binary: binary, Kubeconfig: operator.ControllerKubeconfig, MetricsListen: "0.0.0.0:" + port, LeaderElect: true,
	})
	must(t, err)
	harness.StopAtEnd(t, controller)
	return "127.0.0.1:" + port
}

// account makes a ServiceAccount that is bound to a ClusterRole, or to none, and returns a token of it.
func account(t *testing.T, namespace, name, role string) string {
	t.Helper()
	object := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	must(t, operator.Env.Client.Create(t.Context(), object))
	if role != "" {
		must(t, operator.Env.Client.Create(t.Context(), &rbacv1.ClusterRoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: namespace + "-" + name},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
			Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: namespace, Name: name}},
		}))
	}
	token, err := operator.Clientset.CoreV1().ServiceAccounts(namespace).CreateToken(t.Context(), name, &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	must(t, err)
	return token.Status.Token
}

// get asks a URL with a token, and returns the status and the body.
func get(t *testing.T, insecure bool, url, token string) (int, string) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: insecure}}}
	defer client.CloseIdleConnections()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	must(t, err)
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := client.Do(request)
	if err != nil {
		return 0, err.Error() // the listener may begin after the process is ready
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	must(t, err)
	return response.StatusCode, string(body)
}

// The API server decides about each path: a role for metrics opens no status page, and the other way round.
func TestReadersSeeWhatTheirRoleGives(t *testing.T) {
	host, namespace := startSecured(t), operator.Env.Namespace(t, nil)
	for name, test := range map[string]struct {
		role            string
		metrics, status int
	}{
		"metrics": {"scim-operator-metrics-reader", http.StatusOK, http.StatusForbidden},
		"status":  {"scim-operator-status-reader", http.StatusForbidden, http.StatusOK},
		"none":    {"", http.StatusForbidden, http.StatusForbidden},
	} {
		token := account(t, namespace, name, test.role)
		for path, want := range map[string]int{"/metrics": test.metrics, "/status": test.status} {
			eventually(t, name+" reads "+path, func() error { // the authorizer of the API server learns of the binding by a watch
				got, body := get(t, true, "https://"+host+path, token)
				return unless(got == want && (got != http.StatusOK || strings.Contains(body, "scim")), "%s: answered %d, want %d", path, got, want)
			})
		}
	}
	if got, _ := get(t, true, "https://"+host+"/status", ""); got != http.StatusUnauthorized {
		t.Errorf("without a token the page was answered %d", got)
	}
	// controller-runtime answers 500 where the API server cannot make anything of a token.
	if got, body := get(t, true, "https://"+host+"/status", "forged"); got < http.StatusBadRequest || strings.Contains(body, "scim") {
		t.Errorf("a forged token was answered %d: %s", got, body)
	}
}

// A scrape as the PodMonitor asks for it, with the Secret that it names, is answered; without the Secret it is not.
func TestPodMonitorReachesSecuredMetrics(t *testing.T) {
	text, err := os.ReadFile("../../config/components/prometheus/pod_monitor.yaml")
	must(t, err)
	var monitor struct {
		Spec struct {
			PodMetricsEndpoints []struct {
				Port, Scheme  string
				TLSConfig     struct{ InsecureSkipVerify bool }
				Authorization struct{ Credentials corev1.SecretKeySelector }
			}
		}
	}
	must(t, yaml.Unmarshal(text, &monitor))
	endpoint := monitor.Spec.PodMetricsEndpoints[0]
	credentials, namespace := endpoint.Authorization.Credentials, operator.Env.Namespace(t, nil)
	must(t, operator.Env.Client.Create(t.Context(), &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: credentials.Name},
		StringData: map[string]string{credentials.Key: account(t, namespace, "prometheus", "scim-operator-metrics-reader")},
	}))
	secret, err := operator.Clientset.CoreV1().Secrets(namespace).Get(t.Context(), credentials.Name, metav1.GetOptions{})
	must(t, err)
	url := endpoint.Scheme + "://" + startSecured(t) + "/metrics"
	eventually(t, "a scrape", func() error {
		status, body := get(t, endpoint.TLSConfig.InsecureSkipVerify, url, string(secret.Data[credentials.Key]))
		return unless(status == http.StatusOK && strings.Contains(body, "scim_operator_leader"), "answered %d: %.200s", status, body)
	})
	if status, _ := get(t, endpoint.TLSConfig.InsecureSkipVerify, url, ""); status != http.StatusUnauthorized {
		t.Errorf("a scrape without a credential was answered %d", status)
	}
}
