package scimserver

import (
	"strings"
	"time"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/scimserver/directory"
	"github.com/scim-operator/scim-operator/scimserver/protocol"
)

// What an App's provisioning switches make of a request. An action that is switched off answers 501 and names the switch,
// but for two. The connection test passes whatever is off. An update is answered 200 and changes nothing but active: a
// refused update would make Okta forget the person, and the deactivation would never come.

const (
	// connectionTestCount is the page that Okta's connection test asks for. Imports ask for pages of 100.
	connectionTestCount = 2
	// reassignmentWindow is how long after a reactivation a push still belongs to it: Okta sends active first and the profile
	// later, the later if it was told to wait.
	reassignmentWindow = time.Hour
)

func switchedOff(app *v1alpha1.App, action string) error {
	return protocol.NotImplemented("The App %s does not take this action: spec.provisioning.%s is false.", app.Name, action)
}

// checkImport refuses to list users where the App exports none: an empty list would tell the client that all users are gone.
// The connection test gets one all the same, and look-ups go on: a client asks whether a person is there before it creates
// them.
func checkImport(app *v1alpha1.App, query listQuery) error {
	isTest := query.cursor == nil && query.startIndex <= 1 && query.count <= connectionTestCount
	if app.Spec.Provisioning.ImportsUsers() || query.filter != "" || isTest {
		return nil
	}
	return switchedOff(app, "importUsers")
}

// permitted narrows a change of a user to what the App's switches let a client do. reassigned says that the person came back
// within the reassignmentWindow.
func permitted(app *v1alpha1.App, reassigned bool, change directory.Change) directory.Change {
	provisioning := app.Spec.Provisioning
	return func(current protocol.Resource) (protocol.Resource, bool, error) {
		wasActive := isActive(current)
		var before protocol.Resource
		if !provisioning.UpdatesUsers() {
			before = current.DeepCopy() // change may write into current
		}
		next, changed, err := change(current)
		if err != nil {
			return next, false, err
		}
		becomesActive := isActive(next)
		if wasActive && !becomesActive && !provisioning.DeactivatesUsers() {
			return next, false, switchedOff(app, "deactivateUsers")
		}
		if provisioning.UpdatesUsers() {
			return next, changed, nil
		}
		kept := before
		kept.Attributes["active"] = becomesActive
		if becomesActive && (reassigned || !wasActive) && app.Spec.Scopes.FromAttribute != "" {
			takeAttribute(&kept, next, app.Spec.Scopes.FromAttribute)
		}
		return kept, true, nil
	}
}

// isReassigned says whether a push to the user still belongs to an assignment that came right after an unassignment.
func isReassigned(user *v1alpha1.User) bool {
	since := user.Spec.ReactivatedAt
	return since != nil && time.Since(since.Time) < reassignmentWindow
}

// restored makes the record of a person that had left and is created again: what the client sends takes the record's place.
// Where the App does not update users, what the client does not send stays: it is the cluster's.
func restored(app *v1alpha1.App, sent protocol.Resource) directory.Change {
	provisioning := app.Spec.Provisioning
	return func(current protocol.Resource) (protocol.Resource, bool, error) {
		next := sent.DeepCopy()
		if !provisioning.UpdatesUsers() {
			keep(&next, current)
			if app.Spec.Scopes.FromAttribute != "" {
				takeAttribute(&next, sent, app.Spec.Scopes.FromAttribute)
			}
		}
		return next, true, nil
	}
}

// keep adds to a resource what it does not say and another does, each attribute in its container.
func keep(next *protocol.Resource, current protocol.Resource) {
	for name, value := range current.DeepCopy().Attributes {
		_, said := next.Attributes[name]
		overlay(next.Attributes, name, value)
		if container, contained := current.Containers[name]; contained && !said {
			if next.Containers == nil {
				next.Containers = map[string]string{}
			}
			next.Containers[name] = container
		}
	}
}

// overlay adds what an object does not have yet: an attribute, or the attributes of an extension.
func overlay(object map[string]any, name string, value any) {
	existing, found := object[name]
	if !found {
		object[name] = value
		return
	}
	inner, isObject := existing.(map[string]any)
	more, both := value.(map[string]any)
	if !isObject || !both || !strings.Contains(name, ":") {
		return
	}
	for name, value := range more {
		if _, found := inner[name]; !found {
			inner[name] = value
		}
	}
}

// takeAttribute gives a resource the attribute of another, in whatever container it is there, or none where that has none.
// name is an attribute's, or a URN, a colon and an attribute's, as App.spec.scopes.fromAttribute has it.
func takeAttribute(to *protocol.Resource, from protocol.Resource, name string) {
	if strings.HasPrefix(strings.ToLower(name), "urn:") {
		name = name[strings.LastIndexByte(name, ':')+1:]
	}
	dropAttribute(to.Attributes, name)
	for key := range to.Containers {
		if strings.EqualFold(key, name) {
			delete(to.Containers, key)
		}
	}
	from = from.DeepCopy()
	for key, value := range from.Attributes {
		extension, isObject := value.(map[string]any)
		switch {
		case strings.EqualFold(key, name):
			to.Attributes[key] = value
			if container, contained := from.Containers[key]; contained {
				if to.Containers == nil {
					to.Containers = map[string]string{}
				}
				to.Containers[key] = container
			}
		case isObject && strings.Contains(key, ":"):
			takeExtensionAttribute(to.Attributes, key, extension, name)
		}
	}
}

func takeExtensionAttribute(attributes map[string]any, urn string, extension map[string]any, name string) {
	for key, value := range extension {
		if !strings.EqualFold(key, name) {
			continue
		}
		held, isObject := attributes[urn].(map[string]any)
		if !isObject {
			held = map[string]any{}
			attributes[urn] = held
		}
		held[key] = value
	}
}

// drop removes attributes that the App does not store, wherever the client put them.
func drop(from *protocol.Resource, names []string) {
	for _, name := range names {
		dropAttribute(from.Attributes, name)
		for key := range from.Containers {
			if strings.EqualFold(key, name) {
				delete(from.Containers, key)
			}
		}
	}
}

// dropAttribute removes an attribute at top level and from every extension.
func dropAttribute(attributes map[string]any, name string) {
	for key, value := range attributes {
		if strings.EqualFold(key, name) {
			delete(attributes, key)
			continue
		}
		extension, isObject := value.(map[string]any)
		if !isObject || !strings.Contains(key, ":") {
			continue
		}
		for inner := range extension {
			if strings.EqualFold(inner, name) {
				delete(extension, inner)
			}
		}
		if len(extension) == 0 {
			delete(attributes, key)
		}
	}
}
