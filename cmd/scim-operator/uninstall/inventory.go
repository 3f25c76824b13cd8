package uninstall

import (
	"context"
	"fmt"
	"io"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// Inventory is what an uninstallation takes, and from how many people.
type Inventory struct {
	// Apps with their active and inactive people.
	Apps []AppInventory
	// Objects counts those of each kind, by its name; Bindings the native ones, Subjects the different names in them.
	Objects            map[string]int
	Bindings, Subjects int
	// Deployments that will be stopped, as namespace/name.
	Deployments []string
}

// AppInventory is one App.
type AppInventory struct {
	Namespace, Name  string
	Active, Inactive int
}

// Inventory reads what there is. It fails with the first error of the API server.
func (u *Uninstaller) Inventory(ctx context.Context) (*Inventory, error) {
	found := &Inventory{Objects: map[string]int{}}
	var deployments appsv1.DeploymentList
	if err := u.client.List(ctx, &deployments, ofInstallation()); err != nil {
		return nil, err
	}
	for _, deployment := range deployments.Items {
		found.Deployments = append(found.Deployments, deployment.Namespace+"/"+deployment.Name)
	}
	for _, kind := range kinds {
		if err := u.eachOf(ctx, kind, func(page []metav1.PartialObjectMetadata) error {
			found.Objects[kind] += len(page)
			return nil
		}); err != nil {
			return nil, err
		}
	}
	if err := u.countPeople(ctx, found); err != nil {
		return nil, err
	}
	own, _, err := u.ownBindings(ctx)
	if err != nil {
		return nil, err
	}
	names := map[string]bool{}
	for _, b := range own {
		for _, subject := range b.subjects {
			names[subject.Kind+"/"+subject.Name] = true
		}
	}
	found.Bindings, found.Subjects = len(own), len(names)
	return found, nil
}

func (u *Uninstaller) countPeople(ctx context.Context, found *Inventory) error {
	var apps v1alpha1.AppList
	if err := ignoreUnknownKind(u.client.List(ctx, &apps)); err != nil {
		return err
	}
	index := map[client.ObjectKey]*AppInventory{}
	found.Apps = make([]AppInventory, len(apps.Items))
	for i := range apps.Items {
		found.Apps[i] = AppInventory{Namespace: apps.Items[i].Namespace, Name: apps.Items[i].Name}
		index[client.ObjectKeyFromObject(&apps.Items[i])] = &found.Apps[i]
	}
	for next := ""; ; {
		var users v1alpha1.UserList
		if err := u.client.List(ctx, &users, client.Limit(pageSize), client.Continue(next)); err != nil {
			return ignoreUnknownKind(err)
		}
		for i := range users.Items {
			user := &users.Items[i]
			switch app := index[client.ObjectKey{Namespace: user.Namespace, Name: user.Spec.App}]; {
			case app == nil:
			case user.Spec.Active:
				app.Active++
			default:
				app.Inactive++
			}
		}
		if next = users.Continue; next == "" {
			return nil
		}
	}
}

// Print writes the inventory for an administrator to decide by.
func (i *Inventory) Print(out io.Writer) {
	line := func(format string, arguments ...any) { _, _ = fmt.Fprintf(out, format+"\n", arguments...) }
	line("This takes from the cluster, for good:")
	line("  access   %s in %s: %s lose it", counted(i.Bindings, "binding"), counted(len(i.Apps), "App"), counted(i.Subjects, "subject"))
	for _, app := range i.Apps {
		line("           App %s/%s: %d active and %d inactive users", app.Namespace, app.Name, app.Active, app.Inactive)
	}
	for _, kind := range kinds {
		if count := i.Objects[kind]; count > 0 {
			line("  objects  %s", counted(count, kind))
		}
	}
	for _, name := range i.Deployments {
		line("  stops    Deployment %s", name)
	}
	line("  then     the CustomResourceDefinitions, policies, RBAC and Namespace labelled %s=%s", partOf, partOfValue)
}
