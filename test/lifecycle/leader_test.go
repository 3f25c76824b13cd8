package lifecycle_test

import (
	"testing"
	"time"

	"github.com/scim-operator/scim-operator/test/okta/harness"
)

// successions is how often a leader is killed.
const successions = 5

// A standby takes over from a leader that was killed, and takes away the access of a person that left in that moment. README
// says how long that takes; this test logs it.
func TestLeaderKilled(t *testing.T) {
	candidates := elect(t)
	app := newApp(t, 0)
	scim := operator.Client(operator.Server, "/scim/v2", app, oktaDialect)
	var longest, sum time.Duration
	for range successions {
		person := newPerson("leaver")
		if _, err := scim.AssignUser(t.Context(), person); err != nil {
			t.Fatal(err)
		}
		operator.AccessSoon(t, app.Subject(person.Profile.UserName), harness.Everywhere(harness.Viewer))
		// The first one leads, and each successor after it.
		if err := candidates[0].Kill(); err != nil {
			t.Fatal(err)
		}
		killed := time.Now()
		if _, err := scim.Deactivate(t.Context(), person); err != nil {
			t.Fatal(err)
		}
		accessGone(t, app.Subject(person.Profile.UserName))
		took := time.Since(killed)
		t.Logf("access was gone %s after the leader was killed", took.Round(time.Millisecond))
		longest, sum = max(longest, took), sum+took
		candidates = append(candidates[1:], stand(t))
	}
	t.Logf("%d leaders killed: access was gone after %s on average, %s at most", successions, (sum / successions).Round(time.Millisecond), longest.Round(time.Millisecond))
}
