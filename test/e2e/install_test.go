//go:build e2e

package e2e_test

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/test/e2e/report"
)

const (
	// imageOne and imageTwo are what README.md and docs/operations.md install and upgrade to. test/e2e/run.sh builds them:
	// one binary, two images. imageEarlier has the program of an earlier commit.
	imageOne     = "registry.example.com/scim-operator:v0.1.0"
	imageTwo     = "registry.example.com/scim-operator:v0.2.0"
	imageEarlier = "registry.example.com/scim-operator:earlier"
	// tlsSecret holds the server's certificate, webhookSecret that of the authorization webhook.
	tlsSecret     = "scim-operator-server-tls"
	webhookSecret = "scim-operator-authorizer-tls"
	// overlay is what is installed by kustomize, after the README's commands were followed; values is the same for the chart.
	overlay        = "test/e2e/overlay"
	ingressOverlay = "test/e2e/overlay-ingress"
	values         = "test/e2e/values.yaml"
	// rollout bounds every wait for Pods.
	rollout = 4 * time.Minute
)

// The documents with the commands that are followed.
const (
	readme     = "README.md"
	operations = "docs/operations.md"
)

const byKustomize, byChart = "kustomize", "chart"

// installer is one way to install.
type installer struct {
	name string
	// readme is the name of the README's commands for it.
	readme string
	// proxied has a proxy in front of the server, as front says; route reads its route.
	front   string
	proxied func(t *testing.T, e *environment)
	route   func(t *testing.T, e *environment) route
	// configure gives what is installed TLS and the authorization webhook. It also installs again after remove.
	configure func(t *testing.T, e *environment)
	// upgrade has the Deployments run imageTwo, back imageOne again.
	upgrade, back func(t *testing.T, e *environment)
	// remove undoes it, as far as that way to install goes.
	remove func(t *testing.T, e *environment)
	// forget removes what the full removal leaves of that way to install; nil for nothing.
	forget func(t *testing.T, e *environment)
	// share divides the requests of scenarios: another way has the figures already, where it is above 1.
	share int
	// restarts is how often both Deployments are restarted.
	restarts int
}

var installers = []installer{
	{
		name: byKustomize, readme: "install by kustomize", share: 1, restarts: 2,
		front: "an Ingress", route: ingressRoute,
		proxied: func(t *testing.T, e *environment) {
			e.overlay = ingressOverlay
			e.follow(t, operations, "deploy")
		},
		configure: func(t *testing.T, e *environment) { e.follow(t, operations, "deploy") },
		upgrade:   func(t *testing.T, e *environment) { e.follow(t, operations, "upgrade by kustomize") },
		back:      func(t *testing.T, e *environment) { e.follow(t, operations, "deploy") },
		remove: func(t *testing.T, e *environment) {
			output := e.follow(t, operations, "undeploy")
			if !strings.Contains(output, "These bindings go on granting access") {
				t.Errorf("make undeploy does not tell what still grants access:\n%s", output)
			}
		},
	},
	{
		name: byChart, readme: "install by chart", share: 5, restarts: 1,
		front: "a Gateway", route: gatewayRoute,
		proxied: func(t *testing.T, e *environment) {
			e.installHTTPRoutes(t)
			e.helmUpgrade(t, "test/e2e/values-gateway.yaml")
		},
		configure: func(t *testing.T, e *environment) {
			if e.must(t, "helm", "--namespace", system, "list", "--short") == "" {
				e.follow(t, operations, "helm install")
			}
			e.follow(t, operations, "label the namespace")
			e.helmUpgrade(t, values)
		},
		upgrade: func(t *testing.T, e *environment) { e.follow(t, operations, "upgrade by chart") },
		back:    func(t *testing.T, e *environment) { e.follow(t, operations, "roll back by chart") },
		remove: func(t *testing.T, e *environment) {
			if e.must(t, "helm", "--namespace", system, "list", "--short") != "" { // a second uninstall finds no release, and says so
				t.Log(e.follow(t, operations, "helm uninstall"))
			}
		},
		forget: func(t *testing.T, e *environment) { e.follow(t, operations, "after helm") },
	},
}

// install follows the README, word for word, and asks every replica over plain HTTP. Then it configures TLS as the other
// scenarios have it.
func (e *environment) install(t *testing.T, way installer) {
	begun := time.Now()
	t.Logf("installing by %s, as the README says", way.name)
	e.overlay = ""
	e.follow(t, readme, way.readme)
	e.awaitRollout(t)
	ready := e.timeToReady(t)
	e.findService(t)
	e.installApp(t)
	e.awaitOpen(t, *e.app.token.Load())
	e.addRow(report.Row{Scenario: "install by " + way.name + ", by the README", Duration: time.Since(begun), Note: "Ready " + ready})

	e.speaksOnly(t, "http")
	e.proxied(t, way)

	begun = time.Now()
	e.overlay = overlay
	e.applyCertificate(t, tlsSecret)
	e.applyCertificate(t, webhookSecret)
	e.applyClientCA(t)
	way.configure(t, e)
	e.awaitRollout(t)
	e.awaitReplicas(t, "server", 2) // while the last one with HTTP ends, the Service may still lead there
	e.findService(t)
	e.awaitOpen(t, *e.app.token.Load())
	e.speaksOnly(t, "https")
	e.addRow(report.Row{Scenario: way.name + ": TLS", Duration: time.Since(begun), Note: "HTTP on the port of HTTPS is told so, and the other way round"})
}

// speaksOnly asks the Service in the other protocol, and wants an answer that names the right one.
func (e *environment) speaksOnly(t *testing.T, scheme string) {
	t.Helper()
	address := e.url[strings.Index(e.url, "://")+len("://"):]
	request := "GET /scim/v2/Users HTTP/1.1\r\nHost: x\r\n\r\n"
	if scheme == "http" {
		request = "\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03" // the beginning of a TLS handshake
	}
	connection, err := (&net.Dialer{Timeout: 10 * time.Second}).DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = connection.Close() }()
	_ = connection.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := connection.Write([]byte(request)); err != nil {
		t.Fatal(err)
	}
	answer, _ := io.ReadAll(connection) // a reset after the answer takes nothing away from it
	if !strings.HasPrefix(string(answer), "HTTP/1.1 400 ") || !strings.Contains(string(answer), "use "+scheme+"://") {
		t.Errorf("the port of %s answers a client that speaks the other protocol: %q", scheme, answer)
	}
}

// applyCertificate puts a new certificate into a Secret, and returns its serial number.
func (e *environment) applyCertificate(t *testing.T, name string) string {
	t.Helper()
	secret, serial, err := e.ca.issue(system, name)
	if err != nil {
		t.Fatal(err)
	}
	current := &corev1.Secret{}
	err = e.client.Get(t.Context(), client.ObjectKeyFromObject(secret), current)
	if err == nil {
		current.Data = secret.Data
		err = e.client.Update(t.Context(), current)
	} else if client.IgnoreNotFound(err) == nil {
		err = e.client.Create(t.Context(), secret)
	}
	if err != nil {
		t.Fatal(err)
	}
	return serial.String()
}

// applyClientCA puts the authority that API servers' certificates would have to come from into a Secret of its own.
func (e *environment) applyClientCA(t *testing.T) {
	t.Helper()
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: system, Name: "scim-operator-authorizer-client-ca"},
		Data:       map[string][]byte{"ca.crt": e.ca.pem()},
	}
	if err := e.client.Create(t.Context(), secret); client.IgnoreAlreadyExists(err) != nil {
		t.Fatal(err)
	}
}

func (e *environment) awaitRollout(t *testing.T) {
	t.Helper()
	for _, name := range []string{server, controller} {
		if _, err := e.run(t.Context(), "kubectl", "-n", system, "rollout", "status", "deployment/"+name, "--timeout="+rollout.String()); err != nil {
			t.Log(e.kubectl(t, "get", "pods", "-o", "wide"))
			t.Log(e.kubectl(t, "get", "events", "--field-selector=type=Warning", "--sort-by=.lastTimestamp"))
			t.Fatal(err)
		}
	}
}

// findService learns the address of the Service.
func (e *environment) findService(t *testing.T) {
	t.Helper()
	service := &corev1.Service{}
	if err := e.client.Get(t.Context(), client.ObjectKey{Namespace: system, Name: server}, service); err != nil {
		t.Fatal(err)
	}
	for _, port := range service.Spec.Ports {
		if port.Name == "scim" {
			e.scheme = map[int32]string{80: "http", 443: "https"}[port.Port]
			e.url = fmt.Sprintf("%s://%s:%d", e.scheme, service.Spec.ClusterIP, port.Port)
			return
		}
	}
	t.Fatalf("the Service has the ports %+v, none is named scim", service.Spec.Ports)
}

func readyAfter(pod *corev1.Pod) time.Duration {
	var ready, started metav1.Time
	for _, condition := range pod.Status.Conditions {
		if condition.Type == corev1.PodReady {
			ready = condition.LastTransitionTime
		}
	}
	for _, status := range pod.Status.ContainerStatuses {
		if status.State.Running != nil {
			started = status.State.Running.StartedAt
		}
	}
	return ready.Sub(started.Time)
}
