package schema_test

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// pemKey is a public key of Ed25519 as openssl prints it.
var pemKey = strings.ReplaceAll(publicKey, `\n`, "\n")

// The clients of an App: what goes together, and keys that are public ones.
func TestOAuthClientsThatAreTaken(t *testing.T) {
	namespace := env.Namespace(t, nil)
	try := func(oauth *v1alpha1.OAuth) error {
		return env.Client.Create(t.Context(), &v1alpha1.App{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "app"}, Spec: v1alpha1.AppSpec{OAuth: oauth},
		}, client.DryRunAll)
	}
	secret := v1alpha1.OAuthClientSecret{Name: "secret"}
	keys := func(keys ...string) *v1alpha1.OAuth {
		return &v1alpha1.OAuth{MachineClients: []v1alpha1.MachineClient{{ClientID: "hr", Keys: keys}}}
	}
	const web = `{"kty":"EC","crv":"P-256","kid":"it's [1] {a}","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"`
	for name, test := range map[string]struct {
		oauth *v1alpha1.OAuth
		want  string
	}{
		"a machine client":                  {keys(pemKey), ""},
		"with two keys":                     {keys(pemKey, "\n  "+web+"}\n"), ""},
		"beside another client":             {&v1alpha1.OAuth{ClientID: "a", ClientSecret: secret, OktaAppName: "a", MachineClients: keys(pemKey).MachineClients}, ""},
		"no client at all":                  {&v1alpha1.OAuth{Scopes: []v1alpha1.TokenScope{v1alpha1.TokenScopeRead}}, "machineClients"},
		"a client without a secret":         {&v1alpha1.OAuth{ClientID: "a", OktaAppName: "a"}, "go together"},
		"a client without an address":       {&v1alpha1.OAuth{ClientID: "a", ClientSecret: secret}, "go together"},
		"an address without a client":       {&v1alpha1.OAuth{OktaAppName: "a", MachineClients: keys(pemKey).MachineClients}, "go together"},
		"one ID for both":                   {&v1alpha1.OAuth{ClientID: "hr", ClientSecret: secret, OktaAppName: "a", MachineClients: keys(pemKey).MachineClients}, "is taken"},
		"one ID twice":                      {&v1alpha1.OAuth{MachineClients: append(keys(pemKey).MachineClients, keys(pemKey).MachineClients...)}, "Duplicate"},
		"no key":                            {keys(), "keys"},
		"an empty key":                      {keys(""), "keys"},
		"text":                              {keys("ssh-ed25519 AAAA"), "spec.oauth.machineClients[0].keys"},
		"a private key in PEM":              {keys(strings.ReplaceAll(pemKey, "PUBLIC", "PRIVATE")), "spec.oauth.machineClients[0].keys"},
		"a private key behind a public one": {keys(pemKey + strings.ReplaceAll(pemKey, "PUBLIC", "PRIVATE")), "spec.oauth.machineClients[0].keys"},
		"a private key as a JWK":            {keys(web + `,"d": "jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"}`), "private or secret"},
		"a private JWK with an escape":      {keys(web + `,"\u0064":"jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"}`), "spec.oauth.machineClients[0].keys"},
		"a secret as a JWK":                 {keys(`{"kty":"oct","k" :"c2VjcmV0"}`), "private or secret"},
		"a certificate":                     {keys(strings.ReplaceAll(pemKey, "PUBLIC KEY", "CERTIFICATE")), "spec.oauth.machineClients[0].keys"},
	} {
		if err := try(test.oauth); test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%s: got %v, want %q", name, err, test.want)
		}
	}
}
