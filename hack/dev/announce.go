package dev

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"text/template"

	"k8s.io/client-go/tools/clientcmd"
)

// announcement is printed once all is ready. Its requests carry the headers and the bodies
// that Okta sends; the role is an attribute of the sample App.
var announcement = template.Must(template.New("announcement").Parse(`
scim-operator is running. Ctrl-C stops it; the data stays for the next run (RESET=1 make run forgets it).

  SCIM base URL  {{.SCIMURL}}
  Token          {{.Token}}
  KUBECONFIG     export KUBECONFIG={{.Kubeconfig}}
  Status page    {{.StatusPage}}
  Logs           {{.Logs}}

Try it in another terminal, after

  . {{.EnvFile}}

Create a user as Okta does:

  curl -sS "$SCIM_URL/Users" -H "Authorization: Bearer $SCIM_TOKEN" \
    -H 'Accept: application/scim+json' -H 'Content-Type: application/scim+json; charset=utf-8' \
    -H 'User-Agent: Okta SCIM Client 1.0.0' -d '{
      "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
      "userName": "jane@example.com", "name": {"givenName": "Jane", "familyName": "Doe"},
      "emails": [{"primary": true, "value": "jane@example.com", "type": "work"}],
      "displayName": "Jane Doe", "locale": "en-US", "externalId": "00ujl29u0le5T6Aj10h7",
      "groups": [], "password": "1mz050nq", "active": true, "role": "developer"}'

See her, and what she may do:

  kubectl get suser
  kubectl auth can-i create pods --namespace team-a --as okta:jane@example.com

Deactivate her, and ask again:

  curl -sS -X PATCH "$SCIM_URL/Users/$(kubectl get suser -o jsonpath='{.items[?(@.spec.userName=="jane@example.com")].metadata.name}')" \
    -H "Authorization: Bearer $SCIM_TOKEN" \
    -H 'Accept: application/scim+json' -H 'Content-Type: application/scim+json; charset=utf-8' \
    -H 'User-Agent: Okta SCIM Client 1.0.0' -d '{
      "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
      "Operations": [{"op": "replace", "value": {"active": false}}]}'

`))

// announce writes the administrator's kubeconfig and the file env, and prints what to try.
func (r *run) announce(s *sample) error {
	if err := r.writeKubeconfig(s.app.Namespace); err != nil {
		return err
	}
	if err := r.writeEnv(s); err != nil {
		return err
	}
	return announcement.Execute(r.Output, map[string]string{
		"SCIMURL":    r.scimURL(),
		"Token":      s.token,
		"Kubeconfig": shellQuote(r.path("kubeconfig")),
		"StatusPage": r.statusPage(),
		"Logs":       r.path("logs"),
		"EnvFile":    shellQuote(r.shortPath("env")),
	})
}

// statusPage is where the controller tells of all Apps: beside its metrics.
func (r *run) statusPage() string {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	for _, process := range r.started {
		if process.URL == "" {
			return process.MetricsURL + "/status"
		}
	}
	return ""
}

// writeKubeconfig makes the sample's namespace the default one, so that `kubectl get suser`
// needs no more words.
func (r *run) writeKubeconfig(namespace string) error {
	data, err := r.plane.Kubeconfig("admin", "system:masters")
	if err != nil {
		return err
	}
	kubeconfig, err := clientcmd.Load(data)
	if err != nil {
		return err
	}
	kubeconfig.Contexts[kubeconfig.CurrentContext].Namespace = namespace
	return clientcmd.WriteToFile(*kubeconfig, r.path("kubeconfig")) // mode 0600
}

// writeEnv makes `. env` enough for another terminal. kubectl comes last in PATH: one that is
// installed wins.
func (r *run) writeEnv(s *sample) error {
	var b strings.Builder
	for _, variable := range [][2]string{
		{"SCIM_URL", r.scimURL()},
		{"SCIM_TOKEN", s.token},
		{"KUBECONFIG", r.path("kubeconfig")},
	} {
		fmt.Fprintf(&b, "export %s=%s\n", variable[0], shellQuote(variable[1]))
	}
	if _, err := exec.LookPath("kubectl"); err != nil {
		fmt.Fprintf(&b, "export PATH=\"$PATH\":%s\n", shellQuote(filepath.Dir(r.plane.Kubectl())))
	}
	// A file of an earlier run may have another mode: WriteFile would leave it as it is.
	if err := os.RemoveAll(r.path("env")); err != nil {
		return err
	}
	return os.WriteFile(r.path("env"), []byte(b.String()), 0o600)
}

// shortPath is the path relative to the working directory where that is shorter.
func (r *run) shortPath(name string) string {
	absolute := r.path(name)
	workingDir, err := os.Getwd()
	if err != nil {
		return absolute
	}
	relative, err := filepath.Rel(workingDir, absolute)
	if err != nil || len(relative) > len(absolute) {
		return absolute
	}
	return relative
}

// shellQuote leaves plain words as they are.
func shellQuote(word string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/._-:@%+,", r)
	}
	if word != "" && strings.TrimFunc(word, plain) == "" {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
