package okta_test

import (
	"net/http"
	"strings"
	"testing"

	okta "github.com/scim-operator/scim-operator/test/okta/client"
)

// A password is in no answer, no object and no log, whatever way it came. Client.Do refuses answers with a member of
// that name; here the value itself is looked for. TestMain looks again for those of all tests.
func TestPasswordIsNowhere(t *testing.T) {
	client, _ := ownApp(t, okta.AppWizard)
	var secrets []string
	secret := func() string {
		password := "Pw" + strings.Repeat("q", 8) + strings.ReplaceAll(newName(t, "^&<"), "@", "%")
		operator.RememberPassword(password)
		secrets = append(secrets, password)
		return password
	}
	var answers []*okta.Exchange
	send := func(method, target, body string, statuses ...int) *okta.Exchange {
		t.Helper()
		answer := do(t, client, method, target, body)
		must(t, answer.ExpectStatus(statuses...))
		answers = append(answers, answer)
		return answer
	}
	name := newName(t, "secretive")
	id := send(http.MethodPost, "/Users", userJSON(name, `,"password":"`+secret()+`"`), 201).Text("id")
	for _, extra := range []string{
		`,"password":"` + secret() + `"`,
		`,"PASSWORD":"` + secret() + `"`,
		`,"` + okta.SchemaUser + `":{"password":"` + secret() + `"}`,
		`,"urn:ietf:params:scim:schemas:core:2.0:user":{"Password":"` + secret() + `"}`,
		`,"` + okta.SchemaUser + `:password":"` + secret() + `"`,
		`,"` + okta.SchemaEnterprise + `":{"password":"` + secret() + `"}`,
		`,"urn:custom":{"password":"` + secret() + `","deep":{"passWord":"` + secret() + `","more":[{"password":"` + secret() + `"}]}}`,
		`,"password":{"value":"` + secret() + `"}`,
		`,"password":["` + secret() + `"]`,
	} {
		send(http.MethodPut, "/Users/"+id, userJSON(name, extra), 200)
	}
	for _, operation := range []string{
		`{"op":"replace","value":{"password":"` + secret() + `"}}`,
		`{"op":"replace","path":"password","value":"` + secret() + `"}`,
		`{"op":"add","path":"` + okta.SchemaUser + `:password","value":"` + secret() + `"}`,
		`{"op":"Add","path":"PassWord","value":"` + secret() + `"}`,
		`{"op":"replace","value":{"` + okta.SchemaUser + `":{"password":"` + secret() + `"}}}`,
		`{"op":"replace","value":{"` + okta.SchemaEnterprise + `:password":"` + secret() + `"}}`,
		`{"op":"replace","path":"urn:custom:password","value":"` + secret() + `"}`,
		`{"op":"replace","value":{"urn:custom":{"password":"` + secret() + `"}}}`,
	} {
		send(http.MethodPatch, "/Users/"+id, patchOf(operation), 200)
	}
	// Requests that fail: their answers and log lines might quote the body.
	send(http.MethodPost, "/Users", userJSON(name, `,"password":"`+secret()+`"`), 409)
	send(http.MethodPost, "/Users", `{"password":"`+secret()+`","userName":`, 400)
	send(http.MethodPost, "/Users", `{"password":"`+secret()+`"}`, 400)
	send(http.MethodPost, "/Users", userJSON(newName(t, "x"), `,"title":{"password":"`+secret()+`"}`), 400)
	send(http.MethodGet, "/Users?filter="+okta.Escape(okta.Equals("password", secret())), "", 200, 400)
	send(http.MethodGet, "/Users/"+id+"?attributes=password", "", 200)
	send(http.MethodGet, "/Users/"+id, "", 200)
	send(http.MethodGet, "/Users?filter="+okta.Escape(okta.Equals("userName", name)), "", 200)

	for _, answer := range answers {
		for _, password := range secrets {
			if strings.Contains(string(answer.Body), password) {
				t.Errorf("the answer has a password that was sent\n%s", answer)
			}
		}
	}
	must(t, operator.FindPasswords(t.Context()))
}
