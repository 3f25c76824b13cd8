// Package residualaccess finds what RoleBindings and ClusterRoleBindings still give to users with revoked access: bindings that
// this operator did not write, and bindings that it wrote for another User of the same Kubernetes name, in whatever App.
//
// A cache of its own, NewCache, holds the bindings of others, reduced to names, roles and subjects. The user controller asks
// Of for each user after it revoked the access, and writes the answer into the status. OnChange tells it when the answer may
// have changed. The package reads, and writes nothing.
package residualaccess

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// MaxReported is how many bindings a status names; it counts them all.
const MaxReported = 32

// Finder knows the bindings of others by subject. Its fields are set before Add and not changed after.
type Finder struct {
	// Client reads Users and this operator's own bindings from informers.
	Client client.Client
	// GroupsOf returns the display names of the groups that a user is a member of now.
	GroupsOf func(user *v1alpha1.User) []string
	// Namespaces with Apps that are served; empty for all. Bindings of other Apps are another operator's.
	Namespaces []string
	// IsMade reports whether a binding with this operator's label is one that it makes, by name, role, labels and annotations. Any account that
	// may write a binding can copy the labels.
	IsMade func(binding client.Object) bool

	changed func(users []types.NamespacedName)

	mutex sync.Mutex
	// foreign bindings, and those that name a subject.
	foreign   map[bindingID]*binding
	bySubject map[string][]*binding
	// asked are the subjects that stand for each revoked person, and the other way round.
	asked   map[types.NamespacedName]question
	askedBy map[string]map[types.NamespacedName]bool
	own     ownSubjects
	former  formerMemberships
	// affected people, and the bindings found of all of them.
	affected, found int

	synced []toolscache.InformerSynced
}

type bindingID struct{ kind, namespace, name string }

// binding is what is kept of one by other hands.
type binding struct {
	bindingID
	role     string
	subjects []string
}

// question is what was asked of a person, and how many bindings were found.
type question struct {
	subjects []string
	found    int
	// own are those of them that this operator wrote.
	own int
}

// NewFinder returns a Finder that knows nothing yet.
func NewFinder(c client.Client, groupsOf func(*v1alpha1.User) []string, namespaces []string, isMade func(client.Object) bool) *Finder {
	return &Finder{
		Client: c, GroupsOf: groupsOf, Namespaces: namespaces, IsMade: isMade,
		foreign: map[bindingID]*binding{}, bySubject: map[string][]*binding{},
		asked: map[types.NamespacedName]question{}, askedBy: map[string]map[types.NamespacedName]bool{},
	}
}

// OnChange has f called with users that Of was asked about, when the answer may have changed. It must be called before Add.
func (f *Finder) OnChange(changed func(users []types.NamespacedName)) { f.changed = changed }

// Of returns up to MaxReported bindings that still name a user with revoked access, or a group that the user is or was in,
// those of this operator first, and how many there are. mapping is the App's, nil where the App is gone. Errors are those of
// reading bindings of this operator.
func (f *Finder) Of(ctx context.Context, user *v1alpha1.User, mapping *v1alpha1.KubernetesMapping) ([]v1alpha1.ResidualAccess, int, error) {
	name := client.ObjectKeyFromObject(user)
	subjects := f.subjectsOf(user, mapping)
	// Recorded before anything is looked up: what changes from now on is told.
	f.ask(name, subjects)
	found := f.lookUp(subjects)
	own, err := f.ownNaming(ctx, subjects)
	if err != nil {
		return nil, 0, err
	}
	found = append(found, own...)
	slices.SortFunc(found, func(a, b v1alpha1.ResidualAccess) int {
		return cmp.Or(cmp.Compare(b.App, a.App), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Subject, b.Subject))
	})
	f.answered(name, len(found), len(own))
	return found[:min(len(found), MaxReported)], len(found), nil
}

// Forget says that a user has access again, or is gone.
func (f *Finder) Forget(user types.NamespacedName) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	f.account(f.asked[user].found, 0)
	f.forget(user)
}

func (f *Finder) forget(user types.NamespacedName) {
	for _, subject := range f.asked[user].subjects {
		delete(f.askedBy[subject], user)
		if len(f.askedBy[subject]) == 0 {
			delete(f.askedBy, subject)
		}
	}
	delete(f.asked, user)
}

func (f *Finder) ask(user types.NamespacedName, subjects []string) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	before := f.asked[user].found
	f.forget(user)
	f.asked[user] = question{subjects: subjects, found: before}
	for _, subject := range subjects {
		if f.askedBy[subject] == nil {
			f.askedBy[subject] = map[types.NamespacedName]bool{}
		}
		f.askedBy[subject][user] = true
	}
}

func (f *Finder) answered(user types.NamespacedName, found, own int) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	if q, asked := f.asked[user]; asked {
		f.account(q.found, found)
		q.found, q.own = found, own
		f.asked[user] = q
	}
}

// subjectsOf returns what stands for a person in bindings: their user name, and the names of the groups that they are in or
// were in lately: a token that was issued before keeps them. Groups that the status tells of already stay.
func (f *Finder) subjectsOf(user *v1alpha1.User, mapping *v1alpha1.KubernetesMapping) []string {
	var subjects []string
	if name := kubernetesName(user, mapping); name != "" {
		subjects = append(subjects, userSubject(name))
	}
	if mapping != nil {
		prefix := mapping.PrefixOfGroups()
		groups := f.GroupsOf(user)
		f.mutex.Lock()
		groups = append(groups, f.former.of(client.ObjectKeyFromObject(user))...)
		f.mutex.Unlock()
		for _, group := range groups {
			subjects = append(subjects, groupSubject(prefix+group))
		}
	}
	for i := range user.Status.ResidualAccess {
		if subject := user.Status.ResidualAccess[i].Subject; strings.HasPrefix(subject, rbacv1.GroupKind+"/") {
			subjects = append(subjects, subject)
		}
	}
	slices.Sort(subjects)
	return slices.Compact(subjects)
}

// kubernetesName is the user name that the person had, or would have.
func kubernetesName(user *v1alpha1.User, mapping *v1alpha1.KubernetesMapping) string {
	if user.Status.KubernetesUsername != "" || mapping == nil {
		return user.Status.KubernetesUsername
	}
	return mapping.Username(&user.Spec)
}

func (f *Finder) lookUp(subjects []string) []v1alpha1.ResidualAccess {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	var found []v1alpha1.ResidualAccess
	for _, subject := range subjects {
		for _, b := range f.bySubject[subject] {
			found = append(found, v1alpha1.ResidualAccess{Kind: b.kind, Namespace: b.namespace, Name: b.name, Role: b.role, Subject: subject})
		}
	}
	return found
}

const (
	kindRoleBinding        = "RoleBinding"
	kindClusterRoleBinding = "ClusterRoleBinding"
)

func userSubject(name string) string  { return rbacv1.UserKind + "/" + name }
func groupSubject(name string) string { return rbacv1.GroupKind + "/" + name }

func roleOf(ref rbacv1.RoleRef) string { return ref.Kind + "/" + ref.Name }
