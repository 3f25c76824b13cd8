package v1alpha1

import (
	"maps"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// RevocationListName returns the name of the RevocationList of an App. A namespace has no dot, so no two Apps share one.
func RevocationListName(app types.NamespacedName) string { return app.Namespace + "." + app.Name }

// AppName returns the App of a list, and false for a list that is not called after its App.
func (l *RevocationList) AppName() (types.NamespacedName, bool) {
	app := types.NamespacedName{Namespace: l.Spec.App.Namespace, Name: l.Spec.App.Name}
	return app, app.Namespace != "" && app.Name != "" && l.Name == RevocationListName(app)
}

// Users returns the names of a list and when their entries expire. Lines that are no entry are left out.
func (s *RevocationListSpec) Users() map[string]time.Time {
	users := map[string]time.Time{}
	for line := range strings.Lines(s.Entries) {
		moment, name, found := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		expires, err := time.Parse(time.RFC3339, moment)
		if found && err == nil {
			users[name] = expires
		}
	}
	return users
}

// SetUsers writes the entries, sorted by name. Names must be CanBeListed.
func (s *RevocationListSpec) SetUsers(users map[string]time.Time) {
	var text strings.Builder
	for _, name := range slices.Sorted(maps.Keys(users)) {
		text.WriteString(RevocationEntry(name, users[name]))
	}
	s.Entries = text.String()
}

// RevocationEntry is the line of one name.
func RevocationEntry(name string, expires time.Time) string {
	return expires.UTC().Format(time.RFC3339) + "\t" + name + "\n"
}

// CanBeListed says whether a RevocationList can hold a name: tabs and line feeds delimit entries.
func CanBeListed(name string) bool {
	return name != "" && len(name) <= MaxRevokedName && !strings.ContainsAny(name, "\t\n")
}
