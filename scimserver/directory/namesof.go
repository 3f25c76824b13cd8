package directory

import (
	"k8s.io/apimachinery/pkg/types"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// NamesOf returns the names that a user or group of the App has in memory, by attribute; nil where there is none.
func (d *Directory) NamesOf(app *v1alpha1.App, endpoint, id string) map[string]string {
	name := types.NamespacedName{Namespace: app.Namespace, Name: id}
	if endpoint == "Groups" {
		if entry := d.groups.get(name); entry != nil && entry.app() == appName(app) {
			return map[string]string{"displayName": entry.group.Spec.DisplayName}
		}
		return nil
	}
	entry := d.users.get(name)
	if entry == nil || entry.app.Value() != appName(app) {
		return nil
	}
	names := map[string]string{"userName": entry.userName}
	if entry.externalID != "" {
		names["externalId"] = entry.externalID
	}
	return names
}
