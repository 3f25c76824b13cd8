package scim_test

import (
	"net/http"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// Attributes that an App does not store are in no object, whichever way they are sent; others that look alike are.
func TestDropAttributes(t *testing.T) {
	const extension = "urn:example:params:scim:schemas:vault:2.0:User"
	s := newClient(t, func(spec *v1alpha1.AppSpec) {
		spec.Provisioning.DropAttributes = []string{"Secret", "privateKey", "urn:example:params:scim:schemas:whole:2.0:User"}
	})
	const sent = `"secret":"s3cr3t-1","PRIVATEKEY":{"pem":"s3cr3t-2"},"token":"kept-1",
		"` + extension + `":{"secret":"s3cr3t-3","secretary":"kept-2"},"urn:example:params:scim:schemas:whole:2.0:User":{"x":"s3cr3t-4"}`
	created := s.do(http.MethodPost, "/Users", `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"userName":"drop@example.com",`+sent+`}`)
	s.must(created.ExpectStatus(http.StatusCreated))
	id := created.Document.(map[string]any)["id"].(string)
	check := func(how string) {
		t.Helper()
		raw, err := operator.Clientset.CoreV1().RESTClient().Get().AbsPath("/apis/scim-operator.io/v1alpha1/namespaces/" + s.app.Namespace + "/users/" + id).DoRaw(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range []string{string(raw), string(s.get("/Users/" + id).Body)} {
			if strings.Contains(text, "s3cr3t") {
				t.Errorf("%s: what the App drops is there: %s", how, text)
			}
			if !strings.Contains(text, "kept-1") || !strings.Contains(text, "kept-2") {
				t.Errorf("%s: more was dropped than the App says: %s", how, text)
			}
		}
	}
	check("POST")
	s.must(s.do(http.MethodPut, "/Users/"+id, `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"userName":"drop@example.com",`+sent+`}`).ExpectStatus(http.StatusOK))
	check("PUT")
	s.must(s.do(http.MethodPatch, "/Users/"+id, `{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[
		{"op":"add","path":"secret","value":"s3cr3t-5"},{"op":"replace","value":{`+sent+`}}]}`).ExpectStatus(http.StatusOK))
	check("PATCH")
}

// What would make the App useless is no setting of it.
func TestLimitsOfTheSchema(t *testing.T) {
	namespace := operator.Env.Namespace(t, nil)
	for name, change := range map[string]func(*v1alpha1.AppSpec){
		"requestsPerSecond": func(spec *v1alpha1.AppSpec) { spec.Limits.RequestsPerSecond = new(int32(24)) },
		"burst":             func(spec *v1alpha1.AppSpec) { spec.Limits.Burst = new(int32(0)) },
		"dropAttributes":    func(spec *v1alpha1.AppSpec) { spec.Provisioning.DropAttributes = []string{"note", "UserName"} },
	} {
		app := &v1alpha1.App{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, GenerateName: "limits-"}}
		change(&app.Spec)
		if err := operator.Env.Client.Create(t.Context(), app); !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
