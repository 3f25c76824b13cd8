// Package observe_test looks at the running processes as an operator of a cluster does: by metrics, alerts, the dashboard's
// queries and the status page.
package observe_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/hack/localoperator"
	"github.com/scim-operator/scim-operator/internal/token"
	okta "github.com/scim-operator/scim-operator/test/okta/client"
	"github.com/scim-operator/scim-operator/test/okta/harness"
)

// patience bounds what has to happen at all.
const patience = time.Minute

var operator *harness.Harness

// TestMain has both processes make traces: what the other tests of this package look at is seen with them.
func TestMain(m *testing.M) {
	if err := received.start(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	harness.Main(m, &operator)
}

// lively is an App with some of everything that can be observed: users, groups, leavers, refusals, tokens.
var lively = sync.OnceValue(func() *scene { return &scene{} })

type scene struct {
	once   sync.Once
	played bool
	app    harness.App
	// leaver and member are users of the App: the first one is inactive.
	leaver, member *okta.Assignment
}

// play has a client do what makes every metric appear, once for all tests of the package.
func (s *scene) play(t *testing.T) *scene {
	t.Helper()
	operator.ShowOnFailure(t)
	s.once.Do(func() { s.run(t); s.played = true })
	if !s.played {
		t.Fatal("the scene failed in an earlier test")
	}
	return s
}

func (s *scene) run(t *testing.T) {
	t.Helper()
	namespace := operator.Env.Namespace(t, nil)
	s.app = operator.NewApp(t, operator.Server, namespace, "lively", func(spec *v1alpha1.AppSpec) {
		spec.Deactivation.DenyRequests = true
		spec.Limits = v1alpha1.Limits{RequestsPerSecond: new(int32(50)), Burst: new(int32(50))}
	})
	text, err := token.New()
	must(t, err)
	operator.CreateToken(t, s.app, v1alpha1.ScimTokenSpec{
		Digest: token.Digest(text), ExpiresAt: &metav1.Time{Time: time.Now().Add(48 * time.Hour)}, Description: hostile,
	})
	scim := operator.Client(operator.Server, "/scim/v2", s.app, okta.AppWizard)
	scim.Retries = 20
	s.member, s.leaver = okta.Assign(okta.NewProfile("member@example.com")), okta.Assign(okta.NewProfile("leaver@example.com"))
	for _, assignment := range []*okta.Assignment{s.member, s.leaver} {
		_, err := scim.AssignUser(t.Context(), assignment)
		must(t, err)
		operator.AccessSoon(t, s.app.Subject(assignment.Profile.UserName), harness.Everywhere("viewer"))
	}
	pushed := &okta.PushedGroup{Name: "Engineers", Members: []okta.GroupMember{okta.MemberOf(s.member), {ID: "unknown-id", UserName: "unknown"}}}
	_, _ = scim.PushGroup(t.Context(), pushed) // the answer lacks the unknown member, as it should
	_, err = scim.Deactivate(t.Context(), s.leaver)
	must(t, err)
	_, err = operator.Client(operator.Server, "/scim/v2", harness.App{Token: "wrong"}, okta.AppWizard).Do(t.Context(), http.MethodGet, "/Users", nil)
	must(t, err)
	impatient := operator.Client(operator.Server, "/scim/v2", s.app, okta.AppWizard)
	var group errgroup.Group
	for range 200 { // at once: beyond the rate
		group.Go(func() error {
			_, err := impatient.Do(t.Context(), http.MethodGet, "/Users?startIndex=1&count=2", nil)
			return err
		})
	}
	must(t, group.Wait())
}

// hostile is a text of a tenant that a page must escape.
const hostile = `<img src=x onerror=alert(1)>"'&</td>`

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// scrape reads a process's metrics in one of the formats.
func scrape(t *testing.T, process *localoperator.Process, accept string) string {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, process.MetricsURL+"/metrics", nil)
	must(t, err)
	request.Header.Set("Accept", accept)
	response, err := http.DefaultClient.Do(request)
	must(t, err)
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	must(t, err)
	if response.StatusCode != http.StatusOK {
		t.Fatalf("/metrics answered %s: %s", response.Status, body)
	}
	return string(body)
}

// names returns which families a scrape has, and their types.
func names(exposition string) map[string]string {
	families := map[string]string{}
	for lines := bufio.NewScanner(strings.NewReader(exposition)); lines.Scan(); {
		if fields := strings.Fields(lines.Text()); len(fields) == 4 && fields[0] == "#" && fields[1] == "TYPE" {
			families[fields[2]] = fields[3]
		}
	}
	return families
}

// eventually repeats a look until it finds nothing to complain of.
func eventually(t *testing.T, what string, look func() error) {
	t.Helper()
	harness.EventuallyEvery(t, 100*time.Millisecond, patience, what, func(context.Context) error { return look() })
}

// unless is an error with the text unless it holds.
func unless(holds bool, format string, arguments ...any) error {
	if holds {
		return nil
	}
	return fmt.Errorf(format, arguments...)
}

// insecurely asks a URL without a look at the certificate, and returns the status; 0 where nothing answers.
func insecurely(t *testing.T, url string) int {
	t.Helper()
	insecure := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	must(t, err)
	response, err := insecure.Do(request)
	if err != nil {
		return 0 // the listener may begin after the process is ready
	}
	_ = response.Body.Close()
	insecure.CloseIdleConnections()
	return response.StatusCode
}
