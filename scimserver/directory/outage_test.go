package directory

import (
	"context"
	"errors"
	"testing"
	"time"
)

// TestOutage does not run in parallel: it stops the API server that all tests use.
func TestOutage(t *testing.T) {
	app := newApp(t)
	d := replica(t, app)
	user := mustCreate(t, d, app, person("ada"))
	group := mustCreateGroup(t, d, app, "Staff", user.Name)
	d.members.inlineLimit = 0
	large := mustCreateGroup(t, d, app, "Large", user.Name)
	if err := env.ControlPlane.KillAPIServer(); err != nil {
		t.Fatal(err)
	}
	requests := map[string]func(context.Context) error{
		"create":  func(ctx context.Context) error { _, _, err := d.Users.Create(ctx, app, person("bob")); return err },
		"get":     func(ctx context.Context) error { _, err := d.Users.Get(ctx, app, user.Name); return err },
		"read":    func(ctx context.Context) error { _, err := d.Users.Read(ctx, app, user.Name); return err },
		"look up": func(ctx context.Context) error { _, err := d.Users.readByUserName(ctx, app, "ada"); return err },
		"find":    func(ctx context.Context) error { _, err := d.Users.FindByUserName(ctx, app, "ada"); return err },
		"miss":    func(ctx context.Context) error { _, err := d.Users.FindByUserName(ctx, app, "nobody"); return err },
		"update": func(ctx context.Context) error {
			_, err := d.Users.Update(ctx, app, user.Name, setting("title", "x"))
			return err
		},
		"rename": func(ctx context.Context) error {
			_, err := d.Users.Update(ctx, app, user.Name, setting("userName", "x"))
			return err
		},
		"delete": func(ctx context.Context) error {
			_, err := d.Users.Delete(ctx, app, user.Name, time.Second)
			return err
		},
		"create a group": func(ctx context.Context) error { _, err := d.Groups.Create(ctx, app, team("Guests")); return err },
		"create a large group": func(ctx context.Context) error {
			_, err := d.Groups.Create(ctx, app, team("Guests", user.Name))
			return err
		},
		"get a group":  func(ctx context.Context) error { _, err := d.Groups.Get(ctx, app, group.Name); return err },
		"find a group": func(ctx context.Context) error { _, err := d.Groups.FindByName(ctx, app, "staff"); return err },
		"members":      func(ctx context.Context) error { _, err := d.Groups.Members(ctx, large); return err },
		"patch a group": func(ctx context.Context) error {
			_, _, err := d.Groups.Update(ctx, app, group.Name, nil, removeMembers(user.Name))
			return err
		},
		"patch a large group": func(ctx context.Context) error {
			_, _, err := d.Groups.Update(ctx, app, large.Name, nil, removeMembers(user.Name))
			return err
		},
		"add a member": func(ctx context.Context) error {
			_, _, err := d.Groups.Update(ctx, app, group.Name, nil, addMembers("nobody"))
			return err
		},
		"rename a group": func(ctx context.Context) error {
			_, _, err := d.Groups.Update(ctx, app, group.Name, setting("displayName", "x"), MembersChange{})
			return err
		},
		"delete a group": func(ctx context.Context) error { return d.Groups.Delete(ctx, app, group.Name) },
		"expired": func(ctx context.Context) error {
			ctx, cancel := context.WithTimeout(ctx, 0)
			defer cancel()
			_, err := d.Users.Get(ctx, app, user.Name)
			return err
		},
	}
	for name, request := range requests {
		var unavailable *UnavailableError
		if err := request(t.Context()); !errors.As(err, &unavailable) || unavailable.RetryAfter < time.Second {
			t.Errorf("%s without an API server: %v", name, err)
		}
	}
	if page, total, err := d.Users.List(app, baseURL, 1, 10); err != nil || total != 1 || len(page) != 1 {
		t.Errorf("the read model lists %d of %d, %v", len(page), total, err)
	}

	if err := env.ControlPlane.RestartAPIServer(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // the tests after this one make Apps
		if err := env.AwaitPolicies(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	eventually(t, "the user is read again", func() bool {
		_, err := d.Users.Get(t.Context(), app, user.Name)
		return err == nil
	})
	mustCreate(t, d, app, person("bob"))
	for _, id := range []string{group.Name, large.Name} {
		if _, changed, err := d.Groups.Update(t.Context(), app, id, nil, removeMembers(user.Name)); err != nil || !changed {
			t.Errorf("patch after the outage: %v, %v", changed, err)
		}
		wantMembers(t, d, app, id)
	}
	other, err := d.Users.Update(t.Context(), app, user.Name, setting("userName", "augusta"))
	if err != nil || other.Spec.UserNameKey != "augusta" {
		t.Errorf("rename after the outage: %v", err)
	}
}
