package plugin

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/names"
)

// dossier is all that objects hold about one person.
type dossier struct {
	// Names are those that were asked for.
	Names []string    `json:"names"`
	At    metav1.Time `json:"at"`
	// LookedFor are all names of the person that were looked for: those of Names, and of their Users.
	LookedFor []string `json:"lookedFor"`
	// Users of the person, whole.
	Users []map[string]any `json:"users"`
	// Groups that the person is in.
	Groups []groupOf `json:"groups"`
	// Events about the person's Users, whole.
	Events []map[string]any `json:"events"`
	// Mentions are the fields of other objects that name the person. What else such an object holds is about others.
	Mentions []mention `json:"mentions"`
	// NotSearched is what could not be looked at.
	NotSearched []gap `json:"notSearched,omitempty"`

	typed []v1alpha1.User
	// persons are the Users that the person has, or had.
	persons []v1alpha1.User
	terms   terms
}

type groupOf struct {
	Namespace   string `json:"namespace"`
	Name        string `json:"name"`
	DisplayName string `json:"displayName"`
}

// mention is an object that names the person.
type mention struct {
	APIVersion string  `json:"apiVersion"`
	Kind       string  `json:"kind"`
	Namespace  string  `json:"namespace,omitempty"`
	Name       string  `json:"name"`
	Places     []place `json:"places"`

	// follows says that this operator wrote it for one of the person's Users, and takes the person out when that is gone; ofOther, that
	// it is another User with a name of the person, or that this operator wrote it for one.
	follows, ofOther bool
}

func (m *mention) String() string {
	if m.Namespace == "" {
		return m.Kind + " " + m.Name
	}
	return m.Kind + " " + m.Namespace + "/" + m.Name
}

// gap is a kind of objects that could not be looked at.
type gap struct {
	What string `json:"what"`
	Why  string `json:"why"`
}

// searched are the kinds that may name a person. Groups come before the shards of their members.
func (p *personCommands) searched() []schema.GroupVersionKind {
	kinds := []schema.GroupVersionKind{
		{Version: "v1", Kind: "Event"},
		{Group: "rbac.authorization.k8s.io", Version: "v1", Kind: "RoleBinding"},
		{Group: "rbac.authorization.k8s.io", Version: "v1", Kind: "ClusterRoleBinding"},
	}
	for _, kind := range []string{"User", "NameClaim", "Group", "MemberShard", "AppRoleBinding", "RevocationList", "App", "ScimToken", "OAuthGrant"} {
		kinds = append(kinds, gvk(kind))
	}
	return kinds
}

// gather looks at every object that may name the person. What the account may not list becomes a gap. It fails where the API server
// does not answer, and where the account may list no Users.
func (p *personCommands) gather(ctx context.Context, asked []string) (*dossier, error) {
	d := &dossier{Names: asked, terms: terms{parts: map[string]bool{}, wholes: map[string]bool{}, manager: map[string]bool{}}}
	for _, name := range asked {
		d.terms.add(bare(name))
	}
	return p.gatherBy(ctx, d)
}

// gatherBy is gather with the names and Users of the person that are known from before.
func (p *personCommands) gatherBy(ctx context.Context, known *dossier) (*dossier, error) {
	d := &dossier{
		Names: known.Names, At: metav1.Now().Rfc3339Copy(), terms: known.terms,
		Users: []map[string]any{}, Groups: []groupOf{}, Events: []map[string]any{}, Mentions: []mention{},
	}
	if err := p.findUsers(ctx, d); err != nil {
		return nil, err
	}
	d.persons = slices.Concat(known.persons, d.typed)
	d.LookedFor = slices.Concat(sortedKeys(d.terms.parts), sortedKeys(d.terms.wholes))
	displayed := map[types.NamespacedName]string{}
	for _, kind := range p.searched() {
		if err := p.search(ctx, d, kind, displayed); err != nil {
			return nil, err
		}
	}
	slices.SortStableFunc(d.Mentions, compareMentions)
	return d, nil
}

// findUsers finds the Users that have one of the names, and takes in all names that they have.
func (p *personCommands) findUsers(ctx context.Context, d *dossier) error {
	asked := map[string]bool{}
	for _, name := range d.Names {
		asked[names.Fold(bare(name))] = true
	}
	list := &unstructured.UnstructuredList{}
	list.SetGroupVersionKind(gvk("UserList"))
	return p.each(ctx, list, func() error {
		for i := range list.Items {
			user := &v1alpha1.User{}
			object := list.Items[i].Object
			if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object, user); err != nil {
				d.NotSearched = append(d.NotSearched, gap{"User " + list.Items[i].GetNamespace() + "/" + list.Items[i].GetName(), err.Error()})
				continue
			}
			if slices.ContainsFunc(namesOf(user), func(name string) bool { return name != "" && asked[names.Fold(name)] }) {
				withoutManagedFields(object)
				d.Users, d.typed = append(d.Users, object), append(d.typed, *user)
				d.addNames(user)
			}
		}
		return nil
	}, p.within())
}

// namesOf returns the names that stand for this user and no other one of its App, some of them empty.
func namesOf(user *v1alpha1.User) []string {
	list := []string{user.Name, user.Spec.UserName, user.Spec.ExternalID, user.Status.KubernetesUsername, user.Status.BoundAs}
	for _, email := range user.Spec.Emails {
		list = append(list, email.Value)
	}
	return list
}

func (d *dossier) addNames(user *v1alpha1.User) {
	d.terms.add(namesOf(user)...)
	d.terms.add(string(user.UID), user.Spec.PendingKey)
	d.terms.addManager(user.Spec.DisplayName)
	if user.Spec.Name != nil {
		d.terms.addManager(user.Spec.Name.Formatted)
	}
	if user.Spec.Enterprise != nil {
		d.terms.addManager(user.Spec.Enterprise.EmployeeNumber)
	}
}

// search looks at all objects of one kind, in all namespaces, or in that of the command where the account may not.
func (p *personCommands) search(ctx context.Context, d *dossier, kind schema.GroupVersionKind, displayed map[types.NamespacedName]string) error {
	err := p.searchIn(ctx, d, kind, displayed)
	if right := missingRight(err); right != "" && !p.all && kind.Kind != "ClusterRoleBinding" {
		d.NotSearched = append(d.NotSearched, gap{kind.Kind + " in other namespaces", "you lack the right to " + right})
		namespace := p.namespace
		if kind.Kind == "RevocationList" {
			namespace = p.operatorNamespace
		}
		err = p.searchIn(ctx, d, kind, displayed, client.InNamespace(namespace))
	}
	if right := missingRight(err); right != "" {
		d.NotSearched = append(d.NotSearched, gap{kind.Kind, "you lack the right to " + right})
		return nil
	}
	return err
}

func (p *personCommands) searchIn(
	ctx context.Context, d *dossier, kind schema.GroupVersionKind, displayed map[types.NamespacedName]string, options ...client.ListOption,
) error {
	list := &unstructured.UnstructuredList{}
	list.SetGroupVersionKind(kind.GroupVersion().WithKind(kind.Kind + "List"))
	return p.each(ctx, list, func() error {
		for i := range list.Items {
			object := &list.Items[i]
			if kind.Kind == "Group" {
				text, _, _ := unstructured.NestedString(object.Object, "spec", "displayName")
				displayed[client.ObjectKeyFromObject(object)] = text
			}
			d.take(object, displayed)
		}
		return nil
	}, options...)
}

// take adds what an object says of the person.
func (d *dossier) take(object *unstructured.Unstructured, displayed map[types.NamespacedName]string) {
	if d.isOwnUser(object) {
		return
	}
	withoutManagedFields(object.Object)
	places := placesIn(&d.terms, "", object.Object)
	if len(places) == 0 {
		return
	}
	if object.GetKind() == "Event" && d.isAboutUser(object) {
		d.Events = append(d.Events, object.Object)
		return
	}
	m := mention{APIVersion: object.GetAPIVersion(), Kind: object.GetKind(), Namespace: object.GetNamespace(), Name: object.GetName(), Places: places}
	m.follows = d.follows(object, places)
	isNamed := func(at place) bool { return !strings.Contains(at.Field, ".manager.") }
	m.ofOther = !m.follows && (isWritten(object) || m.Kind == "User" && slices.ContainsFunc(places, isNamed))
	d.Mentions = append(d.Mentions, m)
	group := types.NamespacedName{Namespace: m.Namespace, Name: m.Name}
	switch m.Kind {
	case "Group":
		if !slices.ContainsFunc(places, isMember) {
			return
		}
	case "MemberShard":
		group.Name, _, _ = unstructured.NestedString(object.Object, "spec", "group")
	default:
		return
	}
	if one := (groupOf{group.Namespace, group.Name, displayed[group]}); !slices.Contains(d.Groups, one) {
		d.Groups = append(d.Groups, one)
	}
}

func (d *dossier) isOwnUser(object *unstructured.Unstructured) bool {
	return object.GetKind() == "User" && slices.ContainsFunc(d.typed, func(user v1alpha1.User) bool { return user.UID == object.GetUID() })
}

func (d *dossier) isAboutUser(event *unstructured.Unstructured) bool {
	uid, _, _ := unstructured.NestedString(event.Object, "involvedObject", "uid")
	return slices.ContainsFunc(d.typed, func(user v1alpha1.User) bool { return string(user.UID) == uid })
}

// follows says whether this operator wrote an object for one of the person's Users.
func (d *dossier) follows(object *unstructured.Unstructured, places []place) bool {
	labels := object.GetLabels()
	return isWritten(object) && slices.ContainsFunc(d.persons, func(user v1alpha1.User) bool {
		switch object.GetKind() {
		case "RoleBinding", "ClusterRoleBinding":
			return labels[v1alpha1.LabelAppNamespace] == user.Namespace && labels[v1alpha1.LabelApp] == user.Spec.App
		}
		return object.GetNamespace() == user.Namespace && slices.ContainsFunc(places, func(at place) bool { return at.Text == user.Name })
	})
}

// isWritten says whether this operator writes an object, for the Users that it names.
func isWritten(object *unstructured.Unstructured) bool {
	switch object.GetKind() {
	case "NameClaim", "Group", "MemberShard", "AppRoleBinding":
		return true
	case "RoleBinding", "ClusterRoleBinding":
		return object.GetLabels()[v1alpha1.LabelManagedBy] == v1alpha1.ManagedByValue
	}
	return false
}

func isMember(at place) bool { return strings.HasPrefix(at.Field, "spec.members[") }

func withoutManagedFields(object map[string]any) {
	unstructured.RemoveNestedField(object, "metadata", "managedFields")
}

func sortedKeys[T any](members map[string]T) []string { return slices.Sorted(maps.Keys(members)) }

// summary says in a line how much was found.
func (d *dossier) summary() string {
	if len(d.Users)+len(d.Events)+len(d.Mentions) == 0 {
		return fmt.Sprintf("Nothing that was looked at names %s.", joined(d.Names))
	}
	return fmt.Sprintf("%s, %s, %s, and %s that name the person",
		counted(len(d.Users), "User"), counted(len(d.Groups), "group"), counted(len(d.Events), "Event"), counted(len(d.Mentions), "other object"))
}

// counted is a number of things, in words.
func counted(number int, thing string) string {
	if number != 1 {
		thing += "s"
	}
	return fmt.Sprintf("%d %s", number, thing)
}

// stillNames reads an object that named the person again, and returns what of it names the person now; nil where nothing does. Errors are
// the API server's.
func (p *personCommands) stillNames(ctx context.Context, d *dossier, before *mention) (*mention, error) {
	object := &unstructured.Unstructured{}
	object.SetAPIVersion(before.APIVersion)
	object.SetKind(before.Kind)
	err := p.client.Get(ctx, client.ObjectKey{Namespace: before.Namespace, Name: before.Name}, object)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("read %s again", before), err)
	}
	withoutManagedFields(object.Object)
	now := *before
	if now.Places = placesIn(&d.terms, "", object.Object); len(now.Places) == 0 {
		return nil, nil
	}
	return &now, nil
}
