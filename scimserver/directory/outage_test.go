package directory

import (
	"context"
	"errors"
	"testing"
	"time"
)

// TestOutage runs alone: it takes the API server away from everybody.
func TestOutage(t *testing.T) {
	app := newApp(t)
	d := replica(t, app)
	user := mustCreate(t, d, app, person("ada"))
	if err := env.ControlPlane.KillAPIServer(); err != nil {
		t.Fatal(err)
	}
	requests := map[string]func(context.Context) error{
		"create": func(ctx context.Context) error { _, _, err := d.CreateUser(ctx, app, person("bob")); return err },
		"get":    func(ctx context.Context) error { _, err := d.GetUser(ctx, app, user.Name); return err },
		"find":   func(ctx context.Context) error { _, err := d.FindByUserName(ctx, app, "ada"); return err },
		"miss":   func(ctx context.Context) error { _, err := d.FindByUserName(ctx, app, "nobody"); return err },
		"update": func(ctx context.Context) error {
			_, err := d.UpdateUser(ctx, app, user.Name, setting("title", "x"))
			return err
		},
		"rename": func(ctx context.Context) error {
			_, err := d.UpdateUser(ctx, app, user.Name, setting("userName", "x"))
			return err
		},
		"delete": func(ctx context.Context) error { return d.DeleteUser(ctx, app, user.Name, time.Second) },
		"expired": func(ctx context.Context) error {
			ctx, cancel := context.WithTimeout(ctx, 0)
			defer cancel()
			_, err := d.GetUser(ctx, app, user.Name)
			return err
		},
	}
	for name, request := range requests {
		var unavailable *Unavailable
		if err := request(t.Context()); !errors.As(err, &unavailable) || unavailable.RetryAfter < time.Second {
			t.Errorf("%s without an API server: %v", name, err)
		}
	}
	if page, total, err := d.List(app, baseURL, 1, 10); err != nil || total != 1 || len(page) != 1 {
		t.Errorf("the read model lists %d of %d, %v", len(page), total, err)
	}

	if err := env.ControlPlane.RestartAPIServer(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the user is read again", func() bool {
		_, err := d.GetUser(t.Context(), app, user.Name)
		return err == nil
	})
	mustCreate(t, d, app, person("bob"))
	other, err := d.UpdateUser(t.Context(), app, user.Name, setting("userName", "augusta"))
	if err != nil || other.Spec.UserNameKey != "augusta" {
		t.Errorf("rename after the outage: %v", err)
	}
}
