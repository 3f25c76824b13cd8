package scimserver

import (
	"errors"
	"reflect"
	"testing"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/scimserver/protocol"
)

const coreWithoutUser = "urn:ietf:params:scim:schemas:core:2.0"

func appWith(change func(*v1alpha1.Provisioning)) *v1alpha1.App {
	app := &v1alpha1.App{Spec: v1alpha1.AppSpec{Scopes: v1alpha1.Scopes{FromAttribute: "regions"}}}
	app.Name = "guide"
	change(&app.Spec.Provisioning)
	return app
}

func resourceOf(active bool, namesAndValues ...any) protocol.Resource {
	attributes := map[string]any{"userName": "ann@example.com", "active": active}
	for i := 0; i < len(namesAndValues); i += 2 {
		attributes[namesAndValues[i].(string)] = namesAndValues[i+1]
	}
	return protocol.Resource{Attributes: attributes}
}

// becomes is a change that puts a resource in the place of the current one.
func becomes(next protocol.Resource) func(protocol.Resource) (protocol.Resource, bool, error) {
	return func(protocol.Resource) (protocol.Resource, bool, error) { return next.DeepCopy(), true, nil }
}

func TestPermittedWithoutUpdates(t *testing.T) {
	app := appWith(func(p *v1alpha1.Provisioning) { p.UpdateUsers = new(bool) })
	for title, test := range map[string]struct {
		current    protocol.Resource
		sent       protocol.Resource
		reassigned bool
		want       protocol.Resource
	}{
		"a push": {
			resourceOf(true, "title", "Old", "role", "Admin", "regions", "us1"),
			resourceOf(true, "title", "New", "regions", "emea2"), false,
			resourceOf(true, "title", "Old", "role", "Admin", "regions", "us1"),
		},
		"a deactivation": {
			resourceOf(true, "regions", "us1"), resourceOf(false, "regions", "emea2"), false, resourceOf(false, "regions", "us1"),
		},
		"a reactivation chooses scopes": {
			resourceOf(false, "title", "Old", "regions", "us1"), resourceOf(true, "title", "New", "regions", "emea2"), false,
			resourceOf(true, "title", "Old", "regions", "emea2"),
		},
		"without a value it means everywhere": {
			resourceOf(false, "regions", "us1"), resourceOf(true), false, resourceOf(true),
		},
		"the push after it does, too": {
			resourceOf(true, "title", "Old", "regions", "us1"), resourceOf(true, "title", "New", "regions", "emea2"), true,
			resourceOf(true, "title", "Old", "regions", "emea2"),
		},
		"but a deactivation does not": {
			resourceOf(true, "regions", "us1"), resourceOf(false, "regions", "emea2"), true, resourceOf(false, "regions", "us1"),
		},
		"in an extension": {
			resourceOf(false, "urn:example:own", map[string]any{"regions": "us1", "team": "a"}),
			resourceOf(true, "urn:example:own", map[string]any{"regions": "emea2", "team": "b"}), false,
			resourceOf(true, "urn:example:own", map[string]any{"regions": "emea2", "team": "a"}),
		},
		"from an extension to top level": {
			resourceOf(false, "urn:example:own", map[string]any{"regions": "us1"}), resourceOf(true, "Regions", "emea2"), false,
			resourceOf(true, "Regions", "emea2"),
		},
	} {
		got, _, err := permitted(app, test.reassigned, becomes(test.sent))(test.current)
		if err != nil || !reflect.DeepEqual(got, test.want) {
			t.Errorf("%s: %v, error %v, want %v", title, got, err, test.want)
		}
	}
}

// An attribute keeps the container in which Okta sent it.
func TestPermittedKeepsContainers(t *testing.T) {
	app := appWith(func(p *v1alpha1.Provisioning) { p.UpdateUsers = new(bool) })
	current := resourceOf(false, "regions", "us1")
	current.Containers = map[string]string{"regions": coreWithoutUser}
	sent := resourceOf(true, "regions", "emea2")
	got, _, err := permitted(app, false, becomes(sent))(current)
	if err != nil || len(got.Containers) != 0 || got.Attributes["regions"] != "emea2" {
		t.Errorf("%v, error %v, want regions at top level, as sent", got, err)
	}
	got, _, err = permitted(app, true, becomes(current))(sent)
	if err != nil || len(got.Containers) != 0 {
		t.Errorf("%v, error %v: a deactivation moved an attribute", got, err)
	}
}

func TestPermittedWithoutDeactivation(t *testing.T) {
	app := appWith(func(p *v1alpha1.Provisioning) { p.DeactivateUsers = new(bool) })
	change := permitted(app, false, becomes(resourceOf(false)))
	_, _, err := change(resourceOf(true))
	var problem *protocol.Error
	if !errors.As(err, &problem) || problem.Status != 501 || problem.Detail != "The App guide does not take this action: spec.provisioning.deactivateUsers is false." {
		t.Errorf("error %v, want 501 that names the switch", err)
	}
	if got, _, err := change(resourceOf(false, "title", "Old")); err != nil || isActive(got) {
		t.Errorf("a user that is inactive already: %v, error %v", got, err)
	}
}

// A person that is created again brings their profile along. What only the cluster has set stays where the App does not
// update.
func TestRestored(t *testing.T) {
	left := resourceOf(false, "title", "Old", "role", "Admin", "regions", "us1",
		"urn:example:own", map[string]any{"team": "a", "badge": "7"})
	left.Containers = map[string]string{"role": coreWithoutUser, "regions": coreWithoutUser}
	sent := resourceOf(true, "title", "New", "urn:example:own", map[string]any{"team": "b"})
	for title, test := range map[string]struct {
		app     *v1alpha1.App
		current protocol.Resource
		want    protocol.Resource
	}{
		"updates are on": {appWith(func(*v1alpha1.Provisioning) {}), left, sent},
		"updates are off": {
			appWith(func(p *v1alpha1.Provisioning) { p.UpdateUsers = new(bool) }), left,
			protocol.Resource{
				Attributes: resourceOf(true, "title", "New", "role", "Admin", "urn:example:own", map[string]any{"team": "b", "badge": "7"}).Attributes,
				Containers: map[string]string{"role": coreWithoutUser},
			},
		},
	} {
		got, _, err := restored(test.app, sent)(test.current.DeepCopy())
		if err != nil || !reflect.DeepEqual(got, test.want) {
			t.Errorf("%s: %v, error %v, want %v", title, got, err, test.want)
		}
	}
}

func TestCheckImport(t *testing.T) {
	off := appWith(func(p *v1alpha1.Provisioning) { p.ImportUsers = new(bool) })
	for title, test := range map[string]struct {
		query   listQuery
		refused bool
	}{
		"the connection test":     {listQuery{startIndex: 1, count: 2}, false},
		"a count of none":         {listQuery{startIndex: 1}, false},
		"an import":               {listQuery{startIndex: 1, count: 100}, true},
		"a later page":            {listQuery{startIndex: 3, count: 2}, true},
		"a page by cursor":        {listQuery{startIndex: 1, count: 2, cursor: &cursor{}}, true},
		"a look-up before a POST": {listQuery{startIndex: 1, count: 100, filter: `userName eq "ann@example.com"`}, false},
	} {
		if err := checkImport(off, test.query); (err != nil) != test.refused {
			t.Errorf("%s: error %v, want one: %t", title, err, test.refused)
		}
		if err := checkImport(appWith(func(*v1alpha1.Provisioning) {}), test.query); err != nil {
			t.Errorf("%s, where importing is on: %v", title, err)
		}
	}
}
