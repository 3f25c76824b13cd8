//go:build e2e

package e2e_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/test/e2e/report"
	okta "github.com/scim-operator/scim-operator/test/okta/client"
)

const (
	// publicName is the host of config/components/ingress and of values-gateway.yaml, publicSecret its certificate.
	publicName   = "scim.example.com"
	publicSecret = "scim-public-tls"
	// gatewayAPI is where the definitions of HTTPRoutes come from.
	gatewayAPI = "sigs.k8s.io/gateway-api@v1.6.3"
)

// route is what an Ingress or an HTTPRoute says, as far as the components here have it.
type route struct {
	host, prefix, service string
	port                  string
}

// proxied reaches the server through a proxy that ends TLS and goes by the cluster's Ingress or HTTPRoute. No controller for
// either is a part of the cluster, so that the test's own proxy takes its place.
func (e *environment) proxied(t *testing.T, way installer) {
	begun := time.Now()
	e.applyCertificate(t, publicSecret)
	way.proxied(t, e)
	e.awaitRollout(t)
	e.findService(t)
	e.awaitOpen(t, *e.app.token.Load())
	r := way.route(t, e)
	if r.host != publicName {
		t.Fatalf("the route is for host %q, want %q", r.host, publicName)
	}
	e.callThrough(t, e.startProxy(t, r))
	e.addRow(report.Row{Scenario: way.name + ": behind " + way.front, Duration: time.Since(begun),
		Note: "HTTPS by the host, path and Service of the object, through a proxy of the test in the place of a controller"})
}

// startProxy listens for HTTPS with the public certificate, and passes on what the route says. It returns its address.
func (e *environment) startProxy(t *testing.T, r route) string {
	t.Helper()
	service, secret := &corev1.Service{}, &corev1.Secret{}
	if err := errors.Join(
		e.client.Get(t.Context(), client.ObjectKey{Namespace: system, Name: r.service}, service),
		e.client.Get(t.Context(), client.ObjectKey{Namespace: system, Name: publicSecret}, secret),
	); err != nil {
		t.Fatal(err)
	}
	backend := &url.URL{Scheme: "http"}
	for _, port := range service.Spec.Ports {
		if port.Name == r.port || fmt.Sprint(port.Port) == r.port {
			backend.Host = net.JoinHostPort(service.Spec.ClusterIP, fmt.Sprint(port.Port))
		}
	}
	if backend.Host == "" {
		t.Fatalf("Service %s has no port %s: %+v", r.service, r.port, service.Spec.Ports)
	}
	certificate, err := tls.X509KeyPair(secret.Data[corev1.TLSCertKey], secret.Data[corev1.TLSPrivateKeyKey])
	if err != nil {
		t.Fatal(err)
	}
	forward := &httputil.ReverseProxy{Rewrite: func(request *httputil.ProxyRequest) {
		request.SetURL(backend)
		request.SetXForwarded()
		request.Out.Host = request.In.Host
	}}
	proxy := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		if request.Host != r.host || request.URL.Path != r.prefix && !strings.HasPrefix(request.URL.Path, r.prefix+"/") {
			http.NotFound(w, request)
			return
		}
		forward.ServeHTTP(w, request)
	}))
	proxy.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}
	proxy.StartTLS()
	t.Cleanup(proxy.Close)
	return proxy.Listener.Addr().String()
}

// callThrough creates a user by the public name, follows the location in the answer, and deletes the user.
func (e *environment) callThrough(t *testing.T, address string) {
	t.Helper()
	transport := &http.Transport{
		TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: e.ca.roots},
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{Timeout: 10 * time.Second}).DialContext(ctx, network, address)
		},
	}
	base := "https://" + publicName + "/scim/v2"
	scim := okta.New(base, "", okta.Template)
	scim.UseTransport(bearer{app: e.app, next: transport})
	defer scim.Close()
	person := okta.Assign(okta.NewProfile("through.the.proxy@e2e.example"))
	conversation, err := scim.AssignUser(t.Context(), person)
	if err != nil {
		t.Fatal(err)
	}
	location, _ := conversation.Last().At("meta", "location").(string)
	if location != base+"/Users/"+person.ID {
		t.Errorf("location %q does not begin with the external URL", location)
	}
	answer, err := scim.Do(t.Context(), http.MethodGet, strings.TrimPrefix(location, base), nil)
	if err == nil {
		err = answer.ExpectUser()
	}
	if err != nil {
		t.Error(err)
	}
	answer, err = scim.Do(t.Context(), http.MethodDelete, "/Users/"+person.ID, nil)
	if err == nil {
		err = answer.ExpectStatus(http.StatusNoContent)
	}
	if err != nil {
		t.Error(err)
	}
}

// ingressRoute reads the Ingress, and deletes it: make deploy prunes nothing.
func ingressRoute(t *testing.T, e *environment) route {
	ingress := &networkingv1.Ingress{}
	if err := e.client.Get(t.Context(), client.ObjectKey{Namespace: system, Name: server}, ingress); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.client.Delete(context.Background(), ingress) })
	if len(ingress.Spec.TLS) != 1 || ingress.Spec.TLS[0].SecretName != publicSecret || len(ingress.Spec.Rules) != 1 {
		t.Fatalf("the Ingress has no TLS by %s, or not one rule: %+v", publicSecret, ingress.Spec)
	}
	rule := ingress.Spec.Rules[0]
	path := rule.HTTP.Paths[0]
	return route{host: rule.Host, prefix: path.Path, service: path.Backend.Service.Name, port: path.Backend.Service.Port.Name}
}

// installHTTPRoutes applies the definition of HTTPRoutes, without which the chart's cannot be installed.
func (e *environment) installHTTPRoutes(t *testing.T) {
	t.Helper()
	var module struct{ Dir string }
	if err := json.Unmarshal([]byte(e.must(t, "go", "mod", "download", "-json", gatewayAPI)), &module); err != nil {
		t.Fatal(err)
	}
	definition := filepath.Join(module.Dir, "config/crd/standard/gateway.networking.k8s.io_httproutes.yaml")
	e.must(t, "kubectl", "apply", "--server-side", "-f", definition)
	e.must(t, "kubectl", "wait", "--for=condition=Established", "--timeout=60s", "-f", definition)
	t.Cleanup(func() {
		_, _ = e.run(context.Background(), "kubectl", "delete", "--ignore-not-found", "--wait=false", "-f", definition)
	})
}

// gatewayRoute reads the HTTPRoute.
func gatewayRoute(t *testing.T, e *environment) route {
	var object struct {
		Spec struct {
			Hostnames []string
			Rules     []struct {
				Matches     []struct{ Path struct{ Value string } }
				BackendRefs []struct {
					Name string
					Port int
				}
			}
		}
	}
	if err := json.Unmarshal([]byte(e.kubectl(t, "get", "httproute", server, "-o", "json")), &object); err != nil {
		t.Fatal(err)
	}
	if len(object.Spec.Hostnames) != 1 || len(object.Spec.Rules) != 1 || len(object.Spec.Rules[0].BackendRefs) != 1 || len(object.Spec.Rules[0].Matches) != 1 {
		t.Fatalf("the HTTPRoute has not one host, rule, match and backend: %+v", object.Spec)
	}
	rule := object.Spec.Rules[0]
	return route{host: object.Spec.Hostnames[0], prefix: rule.Matches[0].Path.Value, service: rule.BackendRefs[0].Name, port: fmt.Sprint(rule.BackendRefs[0].Port)}
}
