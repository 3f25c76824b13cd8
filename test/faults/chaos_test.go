package faults_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/hack/controlplane"
	"github.com/scim-operator/scim-operator/hack/localoperator"
	okta "github.com/scim-operator/scim-operator/test/okta/client"
	"github.com/scim-operator/scim-operator/test/okta/harness"
)

const (
	// settling bounds how long access may take to be as it should once nothing changes any more.
	settling = 3 * time.Minute
	// act is the number of kills after which all workers pause, so that what should be and what is can be compared.
	act = 5
	// steady is how long it must then stay so.
	steady = 2 * time.Second
)

// leaderKills is how often the leader is killed. FAULTS_CHAOS_KILLS changes it: 20 take less than three minutes, in four acts. In
// the second of four acts one more leader is paused for longer than its Lease lasts.
func leaderKills(t *testing.T) int {
	t.Helper()
	text := os.Getenv("FAULTS_CHAOS_KILLS")
	if text == "" {
		return 20
	}
	kills, err := strconv.Atoi(text)
	if err != nil || kills < 1 {
		t.Fatalf("FAULTS_CHAOS_KILLS: %q is no number of kills", text)
	}
	return kills
}

// The leader of the controllers is killed again and again while people, groups, Apps and namespaces change, by SCIM and by
// hand, and bindings are tampered with. In the end there is exactly the access that a recomputation from the objects gives.
// At no moment in between does a binding name a person after a status declared that access revoked.
func TestLeaderKilledWhileEverythingChanges(t *testing.T) {
	c := newChaos(t)
	defer c.explain(t)
	safety := watchSafety(t, c)
	c.gather()
	for kills := leaderKills(t); kills > 0 && !t.Failed(); kills -= act {
		c.acts++
		c.rage(min(kills, act))
		c.calm()
		held := c.settleHeld()
		if held == 0 && kills <= act && c.done["removals held"] == 0 {
			held = c.provoke() // no edit of the App has done it
		}
		if held > 0 {
			c.release()
			if c.acts%4 == 0 {
				// The leader is killed once more, while the released people lose their roles.
				pause(t.Context(), between(c.random, 0, time.Second))
				c.leader.kill(c)
			}
		}
		c.settle(steady)
		c.nudge()
		c.askSample()
	}
	c.tell(t)
	safety.check(c)
}

// chaos is the scene: two servers, an App of each kind, the controllers, and all workers that change something.
type chaos struct {
	t      *testing.T
	random *rand.Rand
	client client.Client
	leader *candidates
	// acts so far.
	acts int
	// apps by their kind.
	apps [4]*chaosApp
	// crowd are people of limited means without changes of their own; strays, of the same means, come and go in the crowd's
	// group; free ones may be in the owners' group.
	crowd, strays, free []okta.GroupMember
	// guarded are the guarded App's crowd.
	guarded []okta.GroupMember
	// namespaces that come and go, all of them in scopes at times.
	namespaces []string
	// edits of Apps and tampering are dealt from decks, so that all kinds of them come up.
	edits, tampering deck
	journal
}

// deck deals cards, and all of them before it is shuffled anew.
type deck struct{ cards, left []string }

func (d *deck) draw(random *rand.Rand) string {
	if len(d.left) == 0 {
		d.left = slices.Clone(d.cards)
		random.Shuffle(len(d.left), func(i, j int) { d.left[i], d.left[j] = d.left[j], d.left[i] })
	}
	card := d.left[0]
	d.left = d.left[1:]
	return card
}

// chaosApp is one App as both servers serve it.
type chaosApp struct {
	harness.App
	clients [2]*okta.Client
	groups  []*chaosGroup
	// open is held for reading while the App's SCIM endpoint is used, and for writing while the App is deleted.
	open sync.RWMutex
	// shape is what the App looks like now; only its editor reads it.
	shape shape
}

func newChaos(t *testing.T) *chaos {
	t.Helper()
	operator.ShowOnFailure(t)
	c := &chaos{t: t, random: dice(t), client: operator.Env.Client, journal: journal{done: map[string]int{}, own: map[string]bool{}}}
	c.edits.cards = append(slices.Repeat([]string{"App edited"}, 8), "App broken", "App deleted")
	c.tampering.cards = append(slices.Repeat([]string{"binding tampered with", "AppRoleBinding tampered with", "person suspended", "person released"}, 2),
		"binding tampered with", "person edited by hand", "person deleted by hand", "usurper created")
	startControllerManager(t)
	c.createRoles()
	directory := operator.Env.Namespace(t, nil)
	if err := c.createDeployer(directory); err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		c.namespaces = append(c.namespaces, fmt.Sprintf("%s-place-%d", directory, i))
	}
	// At first every scope has a namespace: the server refuses to create people that need one without.
	c.createNamespace(c.namespaces[0], c.labels("emea2", "gold"))
	c.createNamespace(c.namespaces[1], c.labels("us1", "bronze"))
	c.createNamespace(c.namespaces[2], c.labels("", "silver"))
	c.leader = elect(t)
	var servers [2]*localoperator.Process
	for i := range servers {
		server, err := operator.RunServer(t.Context(), "")
		if err != nil {
			t.Fatal(err)
		}
		servers[i] = server
	}
	for i, name := range []string{"chaos", "chaos-small", "chaos-guarded", "chaos-passing"} {
		dialect := []okta.Dialect{okta.Template, okta.AppWizard}[i%2]
		app := &chaosApp{shape: firstShape(kind(i), c.namespaces)}
		app.App = operator.NewApp(t, servers[0], directory, name, app.shape.write)
		operator.Opens(t, servers[1], app.App)
		for j, server := range servers {
			app.clients[j] = operator.Client(server, "/scim/v2", app.App, dialect)
		}
		c.apps[i] = app
	}
	t.Cleanup(func() {
		for i, server := range servers {
			for _, app := range c.apps {
				app.clients[i].Close()
			}
			if err := server.Stop(); err != nil {
				t.Error(err)
			}
		}
	})
	return c
}

var controllerManager = sync.OnceValue(func() error {
	ctx := context.Background()
	binary, err := controlplane.EnsureControllerManager(ctx, os.Stderr)
	if err != nil {
		return err
	}
	return operator.Env.ControlPlane.StartControllerManager(ctx, binary)
})

// startControllerManager has deleted namespaces end; it goes with the control plane.
func startControllerManager(t *testing.T) {
	t.Helper()
	if err := controllerManager(); err != nil {
		t.Fatal(err)
	}
}

// verbs tells what each of the roles lets people do with ConfigMaps: no two of them the same.
var verbs = map[string]string{
	"ClusterRole/chaos-reader":  "get",
	"ClusterRole/chaos-writer":  "update",
	"ClusterRole/chaos-owner":   "delete",
	"ClusterRole/chaos-auditor": "list",
}

// strongest is the role that some people must never have.
const strongest = "chaos-owner"

func (c *chaos) createRoles() {
	var objects []client.Object
	bindable := []string{}
	for role, verb := range verbs {
		name := strings.TrimPrefix(role, "ClusterRole/")
		bindable = append(bindable, name)
		objects = append(objects, &rbacv1.ClusterRole{
			ObjectMeta: metav1.ObjectMeta{Name: name},
			Rules:      []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"configmaps"}, Verbs: []string{verb}}},
		})
	}
	const permission = "scim-operator-bindable-chaos"
	objects = append(objects,
		&rbacv1.ClusterRole{
			ObjectMeta: metav1.ObjectMeta{Name: permission},
			Rules: []rbacv1.PolicyRule{
				{APIGroups: []string{rbacv1.GroupName}, Resources: []string{"clusterroles"}, ResourceNames: bindable, Verbs: []string{"bind"}},
				{APIGroups: []string{rbacv1.GroupName}, Resources: []string{"roles"}, ResourceNames: []string{"chaos-deployer"}, Verbs: []string{"bind"}},
			},
		},
		&rbacv1.ClusterRoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: permission},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: permission},
			Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: localoperator.Namespace, Name: localoperator.ControllerAccount}},
		})
	for _, object := range objects {
		if err := c.client.Create(c.t.Context(), object); client.IgnoreAlreadyExists(err) != nil {
			c.t.Fatal(err)
		}
	}
}

// rage lets all workers loose until the leader was killed that often.
func (c *chaos) rage(kills int) {
	ctx, stop := context.WithCancel(c.t.Context())
	defer stop()
	var wait sync.WaitGroup
	loose := func(what func(context.Context, *rand.Rand)) {
		random := rand.New(rand.NewPCG(c.random.Uint64(), 0))
		wait.Go(func() { what(ctx, random) })
	}
	for range 3 {
		loose(func(ctx context.Context, random *rand.Rand) { c.provision(ctx, random, c.apps[large]) })
	}
	for _, app := range c.apps[small:] {
		loose(func(ctx context.Context, random *rand.Rand) { c.provision(ctx, random, app) })
	}
	for _, app := range []*chaosApp{c.apps[large], c.apps[guarded]} {
		loose(func(ctx context.Context, random *rand.Rand) { c.pushGroups(ctx, random, app) })
	}
	loose(c.editApps)
	loose(c.passApps)
	loose(c.moveNamespaces)
	loose(tamperer{c}.tamper)
	c.leader.killAgainAndAgain(c, kills, c.acts%4 == 2)
	stop()
	wait.Wait()
}

// calm leaves the Apps such that what they grant follows from the objects, and that they grant something. It changes
// nothing without need: an edit would have the controllers look at everything once more.
func (c *chaos) calm() {
	for _, app := range c.apps {
		if app.shape.broken || app.shape.observe {
			app.shape.broken, app.shape.observe = false, false
			c.reshape(c.t.Context(), app)
		}
	}
}

func (c *chaos) appOf(name string) *chaosApp {
	return c.apps[slices.IndexFunc(c.apps[:], func(app *chaosApp) bool { return app.Name == name })]
}
