package schema_test

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/config"
	"github.com/scim-operator/scim-operator/hack/localoperator"
)

// The objects of config/samples/tokens are taken as they are, by an API server that refuses unknown fields.
func TestSamplesOfTokens(t *testing.T) {
	objects, err := localoperator.ReadObjects(config.FS, "samples/tokens")
	if err != nil || len(objects) < 6 {
		t.Fatalf("%d objects: %v", len(objects), err)
	}
	namespace := env.Namespace(t, nil)
	strict := client.WithFieldValidation(env.Client, metav1.FieldValidationStrict)
	for _, object := range objects {
		object.SetNamespace(namespace)
		if err := strict.Create(t.Context(), object, client.DryRunAll); err != nil {
			t.Errorf("%s %s: %v", object.GetKind(), object.GetName(), err)
		}
	}
}

// An issuer is an https URL and no more, and an App that names one says which clients are meant.
func TestIssuersThatAreTaken(t *testing.T) {
	namespace := env.Namespace(t, nil)
	try := func(change func(*v1alpha1.ForeignIssuer)) error {
		issuer := &v1alpha1.ForeignIssuer{Issuer: "https://login.example.com", Audience: "scim", Subjects: []string{"client"}}
		change(issuer)
		return env.Client.Create(t.Context(), &v1alpha1.App{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "app"}, Spec: v1alpha1.AppSpec{OIDC: issuer},
		}, client.DryRunAll)
	}
	for url, taken := range map[string]bool{
		"https://login.example.com": true, "https://login.example.com/": true, "https://login.example.com:8443/oauth2/aus1~x": true,
		"https://login.example.com/a/v2.0/": true, "https://10.20.0.1:443/realms/a": true, "https://[fd00:1::1]:8443": true,
		"http://login.example.com": false, "login.example.com": false, "https://": false, "https:///a": false, "ftp://login.example.com": false,
		"https://user:pass@login.example.com": false, "https://login.example.com?a=b": false, "https://login.example.com/#a": false,
		"https://login.example.com/a b": false, "https://login.example.com:port": false, "https://login.example.com/%zz": false,
		"HTTPS://login.example.com": false, "https://login.example.com\n": false, "https://login.example.com/\u00e9": false,
	} {
		err := try(func(issuer *v1alpha1.ForeignIssuer) { issuer.Issuer = url })
		switch {
		case taken && err != nil:
			t.Errorf("%q is refused: %v", url, err)
		case !taken && (err == nil || !strings.Contains(err.Error(), "spec.oidc.issuer")):
			t.Errorf("%q: %v", url, err)
		}
	}
	for name, change := range map[string]func(*v1alpha1.ForeignIssuer){
		"must say which clients are meant": func(issuer *v1alpha1.ForeignIssuer) { issuer.Subjects = nil },
		"spec.oidc.audience":               func(issuer *v1alpha1.ForeignIssuer) { issuer.Audience = "" },
		"spec.oidc.allowedCIDRs": func(issuer *v1alpha1.ForeignIssuer) {
			issuer.AllowedCIDRs = []string{"10.0.0.1"}
		},
		"spec.oidc.certificateAuthority": func(issuer *v1alpha1.ForeignIssuer) { issuer.CertificateAuthority = "none" },
		"spec.oidc.claims":               func(issuer *v1alpha1.ForeignIssuer) { issuer.Claims = []v1alpha1.RequiredClaim{{Name: "scope"}} },
	} {
		if err := try(change); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
