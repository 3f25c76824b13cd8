package security_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// Two public keys of Ed25519.
const (
	oneKey     = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n"
	anotherKey = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n-----END PUBLIC KEY-----\n"
)

// machines is a patch of an App's machine clients: an ID and its keys each.
func machines(t *testing.T, clients map[string][]string) client.Patch {
	t.Helper()
	list := []any{}
	for id, keys := range clients {
		list = append(list, map[string]any{"clientID": id, "keys": keys})
	}
	var value any = list
	if len(list) == 0 {
		value = nil
	}
	patch, err := json.Marshal(map[string]any{"spec": map[string]any{"oauth": map[string]any{"machineClients": value}}})
	must(t, err)
	return mergePatch(string(patch))
}

// Only an author that may bind what an App grants lists a key of a machine client; any may take one away.
func TestMachineClientWidensAccess(t *testing.T) {
	n := newTenant(t)
	root := n.newApp("root")
	root.Spec.Mode = v1alpha1.ModeObserve
	root.Spec.Roles = []v1alpha1.Role{{Name: "root", Grants: []v1alpha1.Grant{{ClusterRole: "cluster-admin"}}}}
	must(t, n.admin.Create(t.Context(), root))
	refused := func(patch client.Patch) {
		t.Helper()
		refusedBy(t, n.client.Patch(t.Context(), copyOf(root), patch), grantsPolicy, "cluster-admin")
	}
	refused(machines(t, map[string][]string{"hr": {oneKey}}))
	must(t, n.admin.Patch(t.Context(), copyOf(root), machines(t, map[string][]string{"hr": {oneKey}, "erp": {anotherKey}})))
	refused(machines(t, map[string][]string{"hr": {oneKey, anotherKey}, "erp": {anotherKey}}))
	refused(machines(t, map[string][]string{"hr": {anotherKey}, "erp": {anotherKey}}))
	refused(machines(t, map[string][]string{"mine": {oneKey}, "erp": {anotherKey}}))
	refused(machines(t, map[string][]string{"hr": {anotherKey}, "erp": {oneKey}}))
	refused(mergePatch(`{"spec":{"oauth":{"accessTokenLifetime":"24h"}}}`))
	must(t, n.client.Patch(t.Context(), copyOf(root), machines(t, map[string][]string{"erp": {anotherKey}})))
	refused(machines(t, map[string][]string{"hr": {oneKey}, "erp": {anotherKey}}))
	must(t, n.client.Patch(t.Context(), copyOf(root), mergePatch(`{"spec":{"oauth":null}}`)))
	refused(machines(t, map[string][]string{"erp": {anotherKey}}))
}

// An App with as many machine clients and keys as it can list, each as long as it can be, is within the limits of CEL: an author without the
// right to bind takes one key away, and the server makes the grant of the last one.
func TestMachineClientsAtTheirMost(t *testing.T) {
	n, server := newTenant(t), withServer(t)
	full := func() map[string][]string {
		clients := map[string][]string{}
		for i := range 8 {
			for j := range 4 {
				id, key := fmt.Sprintf("%0128d", i), oneKey+strings.Repeat("\n", 4*i+j)
				clients[id] = append(clients[id], strings.Repeat(" ", 2048-len(key))+key)
			}
		}
		return clients
	}
	root := n.newApp("root")
	root.Spec.Mode = v1alpha1.ModeObserve
	root.Spec.Roles = []v1alpha1.Role{{Name: "root", Grants: []v1alpha1.Grant{{ClusterRole: "cluster-admin"}}}}
	must(t, n.admin.Create(t.Context(), root))
	must(t, n.admin.Patch(t.Context(), copyOf(root), machines(t, full())))
	last := fmt.Sprintf("%0128d", 7)
	grant := n.machineGrant("root", last, full()[last][3])
	n.createdSoon(t, server, grant)
	n.createdSoon(t, server, issuedFor(grant))
	fewer := full()
	fewer[last] = fewer[last][1:]
	must(t, n.client.Patch(t.Context(), copyOf(root), machines(t, fewer)))
	refusedBy(t, n.client.Patch(t.Context(), copyOf(root), machines(t, full())), grantsPolicy, "cluster-admin")
}

// machineGrant is the grant of a machine client as the server makes it.
func (n *tenant) machineGrant(app, clientID, key string) *v1alpha1.OAuthGrant {
	name := app + "-bcdfghjk"
	return &v1alpha1.OAuthGrant{
		ObjectMeta: metav1.ObjectMeta{Namespace: n.namespace, Name: name, Labels: map[string]string{v1alpha1.LabelGrant: name}},
		Spec:       v1alpha1.OAuthGrantSpec{App: app, ClientID: clientID, Key: key, UserCode: "BCDF-GHJK"},
	}
}

// With the server's own credential: no machine client that its App does not list, and none of its tokens but short ones. A tenant makes
// none at all.
func TestStolenServerMakesNoMachineClient(t *testing.T) {
	n, server := newTenant(t), withServer(t)
	own, other := n.newApp("own"), n.newApp("other")
	own.Spec.OAuth = &v1alpha1.OAuth{MachineClients: []v1alpha1.MachineClient{{ClientID: "hr", Keys: []string{oneKey}}}}
	other.Spec.OAuth = &v1alpha1.OAuth{MachineClients: []v1alpha1.MachineClient{{ClientID: "erp", Keys: []string{anotherKey}}}}
	must(t, n.client.Create(t.Context(), own))
	must(t, n.client.Create(t.Context(), other))
	refusedBy(t, n.client.Create(t.Context(), n.machineGrant("own", "hr", oneKey)), oauthGrantsPolicy, "made by the SCIM server alone")
	grant := n.machineGrant("own", "hr", oneKey)
	n.createdSoon(t, server, grant)
	n.createdSoon(t, client.NewDryRunClient(server), n.machineGrant("other", "erp", anotherKey))
	valid := issuedFor(grant)
	n.createdSoon(t, client.NewDryRunClient(server), valid.DeepCopy())
	refusedBy(t, n.client.Create(t.Context(), valid.DeepCopy()), oauthTokensPolicy, "issued by the SCIM server alone")

	dry := client.NewDryRunClient(server)
	for name, grant := range map[string]*v1alpha1.OAuthGrant{
		"a key that the App does not list":    n.machineGrant("other", "erp", oneKey),
		"a client that the App does not have": n.machineGrant("other", "hr", anotherKey),
		"the client of another App":           n.machineGrant("other", "hr", oneKey),
	} {
		err := dry.Create(t.Context(), grant)
		if t.Log(name); err == nil {
			t.Errorf("%s is taken", name)
		}
		refusedBy(t, err, oauthAppsPolicy, "does not list")
	}
	approved := n.machineGrant("other", "erp", anotherKey)
	approved.Spec.Decision, approved.Spec.DecidedBy = v1alpha1.DecisionApproved, "admin"
	if err := dry.Create(t.Context(), approved); !apierrors.IsInvalid(err) && !apierrors.IsForbidden(err) {
		t.Errorf("a machine client that is approved: %v", err)
	}
	with := func(change func(*v1alpha1.ScimToken)) *v1alpha1.ScimToken {
		object := valid.DeepCopy()
		change(object)
		return object
	}
	refusedBy(t, dry.Create(t.Context(), with(func(s *v1alpha1.ScimToken) { s.Spec.Type = v1alpha1.TokenTypeRefresh })), oauthIssuedPolicy, "access tokens alone")
	refusedBy(t, dry.Create(t.Context(), with(func(s *v1alpha1.ScimToken) { s.Spec.App = "other" })), oauthIssuedPolicy)
	refusedBy(t, dry.Create(t.Context(), with(func(s *v1alpha1.ScimToken) {
		s.Spec.ExpiresAt = &metav1.Time{Time: time.Now().Add(25 * time.Hour).Truncate(time.Second)}
	})), oauthTokensPolicy, "24 hours")

	// People decide about no machine client: the App does.
	err := n.client.Patch(t.Context(), copyOf(grant), decision("Denied", n.user))
	if !apierrors.IsInvalid(err) {
		t.Errorf("a decision about a machine client: %v", err)
	}
	refusedBy(t, n.client.Status().Patch(t.Context(), copyOf(grant), mergePatch(`{"status":{"assertions":[]}}`)), writersPolicy)
}
