package security_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// restarted ends the controller and the server, runs a function, and starts both again.
func restarted(t *testing.T, between func()) {
	t.Helper()
	address := strings.TrimPrefix(operator.Server.URL, "http://")
	must(t, operator.Server.Stop())
	must(t, operator.Controller.Stop())
	between()
	var err error
	operator.Controller, err = operator.RunController(t.Context())
	must(t, err)
	operator.Server, err = operator.RunServer(t.Context(), address)
	must(t, err)
}

// A digest that two Apps have is the same App's after a restart: that of the token that worked, whichever object is older and
// whichever is looked at first.
func TestDigestOfTwoAppsAfterARestart(t *testing.T) {
	operator.ShowOnFailure(t)
	victim, n := newTenant(t), newTenant(t)
	app := victim.newApp("victim")
	theirs, text := victim.newToken(t, app.Name, "theirs")
	// The copy is the older object; what it is for comes later.
	squatting := n.squat(t, "own", "squatting", theirs.Spec.Digest)
	tokenSoon(t, squatting, v1alpha1.ReasonAppNotFound)
	app.Spec.Tokens = []v1alpha1.AcceptedToken{accepting(theirs)}
	must(t, victim.client.Create(t.Context(), app))
	must(t, victim.client.Create(t.Context(), theirs))
	tokenSoon(t, theirs, v1alpha1.ReasonValid)
	n.squattingApp(t, theirs.Spec.Digest)
	tokenSoon(t, squatting, v1alpha1.ReasonOwnURLOnly)
	scim := connect(t, app, text)
	person := assign(t, scim, app, "before", "viewer")

	for round := range 3 {
		restarted(t, func() {})
		// Both are looked at anew, in the order of an attacker's choice.
		must(t, n.client.Patch(t.Context(), squatting.DeepCopy(), mergePatch(`{"spec":{"description":"`+time.Now().String()+`"}}`)))
		must(t, n.client.Get(t.Context(), client.ObjectKeyFromObject(squatting), squatting))
		tokenSoon(t, squatting, v1alpha1.ReasonOwnURLOnly)
		tokenSoon(t, theirs, v1alpha1.ReasonValid)
		answer, err := scim.Do(t.Context(), http.MethodGet, "/Users/"+person.id, nil)
		must(t, err)
		if answer.Status != http.StatusOK {
			t.Fatalf("round %d: a user of the App with the token that worked is answered %d", round, answer.Status)
		}
	}
}

// Of tokens that came while no controller ran, the older one gets the digest, not the first in the order of a list.
func TestDigestOfTwoAppsAtAStart(t *testing.T) {
	operator.ShowOnFailure(t)
	n := newTenant(t)
	first, second := n.newApp("z-first"), n.newApp("a-second")
	older, text := n.newToken(t, first.Name, "z-first")
	younger, _ := n.newToken(t, second.Name, "a-second")
	younger.Spec.Digest = older.Spec.Digest
	first.Spec.Tokens = []v1alpha1.AcceptedToken{accepting(older)}
	second.Spec.Tokens = []v1alpha1.AcceptedToken{accepting(younger)}
	restarted(t, func() {
		for _, object := range []client.Object{first, second, older} {
			must(t, n.client.Create(t.Context(), object))
		}
		time.Sleep(1100 * time.Millisecond) // times of creation have whole seconds
		must(t, n.client.Create(t.Context(), younger))
	})
	tokenSoon(t, older, v1alpha1.ReasonValid)
	tokenSoon(t, younger, v1alpha1.ReasonOwnURLOnly)
	n.answersSoon(t, text, http.StatusOK)
}
