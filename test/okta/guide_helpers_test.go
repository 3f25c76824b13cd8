package okta_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/config"
	"github.com/scim-operator/scim-operator/hack/localoperator"
	okta "github.com/scim-operator/scim-operator/test/okta/client"
	"github.com/scim-operator/scim-operator/test/okta/harness"
)

// repository is the root of the repository, where the commands of the guides are typed.
const repository = "../.."

// guidePatience bounds every wait of the guides' tests, on a machine that does other things as well.
const guidePatience = 60 * time.Second

// guide is one folder of config/samples, applied as its page says: by kubectl, from the root of the repository.
type guide struct {
	name       string
	kubeconfig string
	// rungs are what people may do, from least to most; each includes those before it.
	rungs []rung
	// namespaces in which the guide's roles hold.
	namespaces []string
}

// rung is one step of access: a user that may do this has the role of that name.
type rung struct{ role, verb, resource string }

// access maps namespaces to the role that a user has there.
type access map[string]string

func (a access) String() string {
	var parts []string
	for _, namespace := range slices.Sorted(maps.Keys(a)) {
		parts = append(parts, a[namespace]+" in "+namespace)
	}
	if len(parts) == 0 {
		return "no access"
	}
	return strings.Join(parts, ", ")
}

// follow applies the sample of a guide, and removes what it holds when the test ends, so that the next begins anew.
func follow(t *testing.T, g guide) *guide {
	t.Helper()
	operator.ShowOnFailure(t)
	g.kubeconfig = filepath.Join(t.TempDir(), "kubeconfig")
	must(t, operator.Env.ControlPlane.WriteKubeconfig(g.kubeconfig, "admin", "system:masters"))
	directories := directoriesOf(t, g.name)
	t.Cleanup(func() {
		for _, namespace := range directories {
			g.clean(t, namespace)
		}
	})
	g.kubectl(t, "apply", "-f", samplePath(g.name))
	for _, object := range readSample(t, g.name) {
		if object.GetKind() == "App" { // tests look as soon as a deactivation is answered, on a busy machine, too
			g.kubectl(t, "--namespace", object.GetNamespace(), "patch", "sapp", object.GetName(), "--type", "merge", "-p", `{"spec":{"deactivation":{"confirmWithin":"30s"}}}`)
		}
	}
	return &g
}

func samplePath(name string) string { return "config/samples/" + name + "/" + name + ".yaml" }

func tokenPath(name string) string { return "config/samples/" + name + "/token.yaml" }

// directoriesOf lists the namespaces of a sample's Apps.
func directoriesOf(t *testing.T, name string) []string {
	t.Helper()
	var namespaces []string
	for _, object := range readSample(t, name) {
		if object.GetKind() == "App" && !slices.Contains(namespaces, object.GetNamespace()) {
			namespaces = append(namespaces, object.GetNamespace())
		}
	}
	return namespaces
}

// clean deletes what a guide's namespace holds: users first, while the controller still takes their access away.
func (g *guide) clean(t *testing.T, namespace string) {
	for _, kinds := range []string{"users.scim-operator.io", "groups.scim-operator.io", "scimtokens,oauthgrants,apps", "secrets"} {
		command := g.command(context.Background(), "kubectl --namespace "+namespace+" delete "+kinds+" --all --timeout=60s")
		if output, err := command.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", command, err, output)
		}
	}
}

// command is a line of shell, typed at the root of the repository with the administrator's kubeconfig.
func (g *guide) command(ctx context.Context, line string, environment ...string) *exec.Cmd {
	command := exec.CommandContext(ctx, "/bin/sh", "-c", line)
	command.Dir = repository
	command.Env = append(os.Environ(), "KUBECONFIG="+g.kubeconfig,
		"PATH="+filepath.Dir(operator.Env.Kubectl)+string(os.PathListSeparator)+os.Getenv("PATH"))
	command.Env = append(command.Env, environment...)
	return command
}

// kubectl runs kubectl and returns what it prints.
func (g *guide) kubectl(t *testing.T, arguments ...string) string {
	t.Helper()
	command := exec.CommandContext(t.Context(), operator.Env.Kubectl, append([]string{"--kubeconfig", g.kubeconfig}, arguments...)...)
	command.Dir = repository
	var complaint bytes.Buffer
	command.Stderr = &complaint
	output, err := command.Output()
	if err != nil {
		t.Fatalf("kubectl %s: %v\n%s", strings.Join(arguments, " "), err, complaint.String())
	}
	return string(output)
}

// open makes the ScimTokens of the sample, as the guides do it, and returns the App that one of them opens.
func (g *guide) open(t *testing.T, namespace, app, scimToken string) harness.App {
	t.Helper()
	g.kubectl(t, "apply", "-f", tokenPath(g.name))
	g.kubectl(t, "--namespace", namespace, "wait", "--for=condition=Ready", "--timeout=60s", "scimtoken/"+scimToken, "app/"+app)
	opened := harness.App{Namespace: namespace, Name: app, Token: g.tokenOf(t, namespace, scimToken), Prefix: v1alpha1.DefaultUsernamePrefix}
	operator.Opens(t, operator.Server, opened)
	return opened
}

// tokenOf reads a generated token.
func (g *guide) tokenOf(t *testing.T, namespace, scimToken string) string {
	t.Helper()
	text, err := base64.StdEncoding.DecodeString(g.kubectl(t, "--namespace", namespace, "get", "secret", scimToken+"-token", "-o", "jsonpath={.data.token}"))
	must(t, err)
	return string(text)
}

// renew has a ScimToken's token made anew, and returns the App that the new one opens.
func (g *guide) renew(t *testing.T, app harness.App, scimToken string) harness.App {
	t.Helper()
	g.kubectl(t, "--namespace", app.Namespace, "delete", "secret", scimToken+"-token")
	g.kubectl(t, "--namespace", app.Namespace, "wait", "--for=create", "--timeout=60s", "secret/"+scimToken+"-token")
	app.Token = g.tokenOf(t, app.Namespace, scimToken)
	operator.Opens(t, operator.Server, app)
	return app
}

// client is Okta's, with the base URL that ends in path.
func (g *guide) client(app harness.App, path string, dialect okta.Dialect) *okta.Client {
	return operator.Client(operator.Server, path, app, dialect)
}

// accessOf asks the API server what a Kubernetes user may do in each of the guide's namespaces: kubectl auth can-i --as.
func (g *guide) accessOf(ctx context.Context, user string) (access, error) {
	found := access{}
	for _, namespace := range g.namespaces {
		for _, rung := range g.rungs {
			allowed, err := operator.CanI(ctx, user, rung.verb, rung.resource, namespace)
			if err != nil {
				return nil, err
			}
			if !allowed {
				break
			}
			found[namespace] = rung.role
		}
	}
	return found, nil
}

// everywhere is one role in all of the guide's namespaces.
func (g *guide) everywhere(role string) access {
	all := access{}
	for _, namespace := range g.namespaces {
		all[namespace] = role
	}
	return all
}

// has waits until a user has exactly that access.
func (g *guide) has(t *testing.T, user string, want access) {
	t.Helper()
	patiently(t, "access of "+user, func(ctx context.Context) error {
		got, err := g.accessOf(ctx, user)
		if err == nil && !maps.Equal(got, want) {
			err = fmt.Errorf("has %s, want %s", got, want)
		}
		return err
	})
}

// hasNow fails unless a user has exactly that access at this very moment.
func (g *guide) hasNow(t *testing.T, user string, want access) {
	t.Helper()
	got, err := g.accessOf(t.Context(), user)
	must(t, err)
	if !maps.Equal(got, want) {
		t.Fatalf("%s has %s, want %s", user, got, want)
	}
}

// shows waits until kubectl get shows the cells in the row of an object.
func (g *guide) shows(t *testing.T, resource, namespace, name string, cells harness.Row) {
	t.Helper()
	patiently(t, "kubectl get "+resource, func(context.Context) error {
		_, row := operator.Table(t, resource, namespace, name)
		for title, want := range cells {
			if row[title] != want {
				return fmt.Errorf("column %s shows %q, want %q, in %v", title, row[title], want, row)
			}
		}
		return nil
	})
}

// tells waits until a condition of an object has the status and the reason, and its message the words.
func (g *guide) tells(t *testing.T, resource, namespace, name, condition, want string) {
	t.Helper()
	path := fmt.Sprintf(`jsonpath={.status.conditions[?(@.type==%q)].status} {.status.conditions[?(@.type==%q)].reason}: {.status.conditions[?(@.type==%q)].message}`,
		condition, condition, condition)
	patiently(t, "condition "+condition+" of "+name, func(context.Context) error {
		if got := g.kubectl(t, "--namespace", namespace, "get", resource, name, "--output", path); !strings.Contains(got, want) {
			return fmt.Errorf("tells %q, want %q in it", got, want)
		}
		return nil
	})
}

// refused fails unless the answer is that error, with the words in its detail.
func refused(t *testing.T, answer *okta.Exchange, status int, scimType, words string) {
	t.Helper()
	must(t, answer.ExpectError(status, scimType))
	if detail := answer.Text("detail"); !strings.Contains(detail, words) {
		t.Errorf("the detail is %q, want %q in it\n%s", detail, words, answer)
	}
}

// givenUp returns the last answer of a conversation that Okta gives up.
func givenUp(t *testing.T, conversation okta.Conversation, err error) *okta.Exchange {
	t.Helper()
	if err == nil {
		t.Fatalf("the conversation %s succeeded, want an error\n%s", conversation.Methods(), conversation.Last())
	}
	if len(conversation) == 0 {
		t.Fatal(err)
	}
	return conversation.Last()
}

func patiently(t *testing.T, what string, check func(context.Context) error) {
	t.Helper()
	harness.Eventually(t, guidePatience, what, check)
}

// readSample reads the objects of a guide's sample.
func readSample(t *testing.T, name string) []*unstructured.Unstructured {
	t.Helper()
	objects, err := localoperator.ReadObjects(config.FS, "samples/"+name)
	must(t, err)
	return objects
}
