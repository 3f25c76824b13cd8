//go:build conformance

package client

import (
	"os"
	"os/exec"
	"testing"

	"github.com/scim-operator/scim-operator/test/okta/harness"
)

var operator *harness.Harness

func TestMain(m *testing.M) { harness.Main(m, &operator) }

func TestDiscovery(t *testing.T)       { provision(t, "discovery") }
func TestProvisionUsers(t *testing.T)  { provision(t, "users") }
func TestBulkAndPaging(t *testing.T)   { provision(t, "pages") }
func TestProvisionGroups(t *testing.T) { provision(t, "groups") }

// provision has the client hold one of the conversations of ../judges/provision.mjs with an App of its own.
func provision(t *testing.T, conversation string) {
	t.Helper()
	operator.ShowOnFailure(t)
	app := operator.NewApp(t, operator.Server, operator.Env.Namespace(t, nil), "own", nil)
	command := exec.Command("node", "provision.mjs", conversation)
	command.Dir = "../judges"
	command.Env = append(os.Environ(), "SCIM_BASE="+operator.Server.URL+"/scim/v2", "SCIM_TOKEN="+app.Token)
	if output, err := command.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", conversation, err, output)
	}
}
