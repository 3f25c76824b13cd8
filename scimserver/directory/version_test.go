package directory

import (
	"context"
	"errors"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/scimserver/protocol"
)

// A client has a version from a replica that knows of a group, and makes its change on one that does not yet: that one
// waits. A version that is old is refused.
func TestVersionOfAReplicaThatIsBehind(t *testing.T) {
	t.Parallel()
	app := newApp(t)
	d := replica(t, app)
	user := mustCreate(t, d, app, person("ada"))
	old := d.Users.Meta(user, "").Version
	group := mustCreateGroup(t, d, app, "Pioneers", user.Name)
	version := d.Users.Meta(user, "").Version
	if version == old {
		t.Fatalf("the version is still %s in a group", old)
	}
	live, err := client.New(env.Config, client.Options{Scheme: env.Scheme})
	if err != nil {
		t.Fatal(err)
	}
	behind, err := newDirectory(live) // nothing feeds it
	if err != nil {
		t.Fatal(err)
	}
	match := func(version string) Precondition { return Precondition{Match: protocol.ParseETags(version)} }
	done := make(chan error, 1)
	go func() {
		_, err := behind.Users.Update(t.Context(), app, user.Name, setting("title", "Countess"), match(version))
		done <- err
	}()
	err = wait.PollUntilContextTimeout(t.Context(), time.Millisecond, time.Minute, true, func(context.Context) (bool, error) {
		return behind.Users.model.byKey(appName(app), user.Spec.UserNameKey) != nil, nil
	})
	if err != nil {
		t.Fatal("the change was not begun: ", err)
	}
	behind.Groups.applyOwnWrite(group.DeepCopy())
	if err := <-done; err != nil {
		t.Errorf("the replica caught up, and the change was refused: %v", err)
	}
	var problem *protocol.Error
	for _, stale := range []string{old, version} {
		if _, err := behind.Users.Update(t.Context(), app, user.Name, setting("title", "Other"), match(stale)); !errors.As(err, &problem) || problem.Status != 412 {
			t.Errorf("a change of the old version %s: %v", stale, err)
		}
	}
	// Only what is shown of others differs: the answer comes, if late.
	now, err := behind.Users.Get(t.Context(), app, user.Name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := behind.Users.Delete(t.Context(), app, user.Name, time.Millisecond, match(userVersion(now, nil).String())); !errors.As(err, &problem) || problem.Status != 412 {
		t.Errorf("a deletion of the version without the group: %v", err)
	}
}
