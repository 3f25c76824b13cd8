package controllers_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	eventsv1 "k8s.io/api/events/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/controllers/residualaccess"
)

// byHand is a RoleBinding that people wrote.
func (w *world) byHand(name string, subjects ...rbacv1.Subject) *rbacv1.RoleBinding {
	return &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: bindable("get")},
		Subjects:   subjects,
	}
}

func userNamed(name string) rbacv1.Subject {
	return rbacv1.Subject{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: name}
}

func groupNamed(name string) rbacv1.Subject {
	return rbacv1.Subject{APIGroup: rbacv1.GroupName, Kind: rbacv1.GroupKind, Name: name}
}

// eventuallyResidual waits for the residual access in the status of a revoked user, as "name subject".
func (k *cluster) eventuallyResidual(user *v1alpha1.User, want ...string) {
	k.Helper()
	k.eventually(func() string {
		if err := env.Client.Get(k.ctx, client.ObjectKeyFromObject(user), user); err != nil {
			return err.Error()
		}
		var got []string
		for _, r := range user.Status.ResidualAccess {
			got = append(got, r.Name+" "+r.Subject)
		}
		status, reason := metav1.ConditionTrue, v1alpha1.ReasonOtherBindings
		if len(want) == 0 {
			status, reason = metav1.ConditionFalse, v1alpha1.ReasonNoOtherBindings
		}
		c := meta.FindStatusCondition(user.Status.Conditions, v1alpha1.ConditionResidualAccess)
		if !slices.Equal(got, want) || int(user.Status.ResidualAccessCount) != len(want) || c == nil || c.Status != status || c.Reason != reason {
			return fmt.Sprintf("residual access %q, count %d, condition %+v; want %q", got, user.Status.ResidualAccessCount, c, want)
		}
		return ""
	})
}

// What bindings by other hands still give appears in the status of a revoked user, changes with them, and goes.
func TestResidualAccess(t *testing.T) {
	w := newWorld(t, nil)
	user := w.provision(w.newUser("Jane", ""))
	w.eventuallyGranted(user)
	first := w.byHand("first", userNamed("okta:Jane"), userNamed("okta:somebody-else"), rbacv1.Subject{Kind: "ServiceAccount", Namespace: w.namespace, Name: "jane"})
	w.create(first)
	w.create(w.byHand("other-case", userNamed("okta:JANE"), groupNamed("okta:Jane")))
	if c := meta.FindStatusCondition(user.Status.Conditions, v1alpha1.ConditionResidualAccess); c != nil {
		t.Errorf("an active user has condition %+v", c)
	}

	update(w, user, deactivate)
	w.eventuallyResidual(user, "first User/okta:Jane")
	if got := user.Status.ResidualAccess[0]; got.Kind != "RoleBinding" || got.Namespace != w.namespace || got.Role != "ClusterRole/"+bindable("get") {
		t.Errorf("reported %+v", got)
	}
	w.eventuallyEvent(user, "ResidualAccess", "first")

	// One more, cluster-wide.
	cluster := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: w.namespace},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: bindable("get")},
		Subjects:   []rbacv1.Subject{userNamed("okta:Jane")},
	}
	w.create(cluster)
	w.eventuallyResidual(user, w.namespace+" User/okta:Jane", "first User/okta:Jane")
	w.eventuallyEvent(user, "ResidualAccess", "1 more")

	// A binding that carries this operator's label and belongs to no App is by another hand.
	hidden := w.byHand("hidden", userNamed("okta:Jane"))
	hidden.Labels = map[string]string{v1alpha1.LabelManagedBy: v1alpha1.ManagedByValue}
	w.create(hidden)
	w.eventuallyResidual(user, w.namespace+" User/okta:Jane", "first User/okta:Jane", "hidden User/okta:Jane")

	// They go one by one: deleted, and without the subject.
	for _, object := range []client.Object{cluster, hidden} {
		if err := env.Client.Delete(w.ctx, object); err != nil {
			t.Fatal(err)
		}
	}
	w.eventuallyResidual(user, "first User/okta:Jane")
	update(w, first, func(b *rbacv1.RoleBinding) { b.Subjects = b.Subjects[1:] })
	w.eventuallyResidual(user)

	// A new leader finds the same, and drops it once the user is back.
	w.stop()
	update(w, first, func(b *rbacv1.RoleBinding) { b.Subjects = append(b.Subjects, userNamed("okta:Jane")) })
	w.start()
	w.eventuallyResidual(user, "first User/okta:Jane")
	update(w, user, reactivate)
	w.eventuallyGranted(user)
	if c := meta.FindStatusCondition(user.Status.Conditions, v1alpha1.ConditionResidualAccess); c != nil || len(user.Status.ResidualAccess) > 0 || user.Status.ResidualAccessCount > 0 {
		t.Errorf("back again, with %+v and %v", c, user.Status.ResidualAccess)
	}
}

// eventuallyEvent waits for an event about an object that tells of something.
func (d *directory) eventuallyEvent(object client.Object, reason, note string) {
	d.Helper()
	d.eventually(func() string {
		var list eventsv1.EventList
		if err := env.Client.List(d.ctx, &list, client.InNamespace(d.namespace)); err != nil {
			return err.Error()
		}
		for _, event := range list.Items {
			if event.Regarding.Name == object.GetName() && event.Reason == reason && strings.Contains(event.Note, note) {
				return ""
			}
		}
		return fmt.Sprintf("no event %s about %q among %d", reason, note, len(list.Items))
	})
}

// A token that names a group outlives the membership: groups that the user left shortly before the deactivation count.
func TestResidualAccessByGroup(t *testing.T) {
	w := newWorld(t, nil)
	user := w.provision(w.newUser("jane", ""))
	w.eventuallyGranted(user)
	staff, former := w.push("Staff", 100, user.Name), w.push("Former", 100, user.Name)
	for _, group := range []*v1alpha1.Group{staff, former} {
		w.eventuallyCondition(group, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	}
	w.create(w.byHand("to-former", groupNamed("okta:Former")))
	w.create(w.byHand("to-staff", groupNamed("okta:Staff")))
	w.create(w.byHand("to-strangers", groupNamed("okta:Strangers")))
	update(w, former, func(g *v1alpha1.Group) { g.Spec.Members = nil })
	w.eventually(func() string {
		if err := env.Client.Get(w.ctx, client.ObjectKeyFromObject(former), former); err != nil || former.Status.Members != 0 {
			return fmt.Sprintf("group Former has %d members: %v", former.Status.Members, err)
		}
		return ""
	})
	update(w, user, deactivate)
	w.eventuallyResidual(user, "to-former Group/okta:Former", "to-staff Group/okta:Staff")

	// Taken out of the group after the deactivation: the token has it all the same.
	update(w, staff, func(g *v1alpha1.Group) { g.Spec.Members = nil })
	w.create(w.byHand("more", groupNamed("okta:Staff")))
	w.eventuallyResidual(user, "more Group/okta:Staff", "to-former Group/okta:Former", "to-staff Group/okta:Staff")
}

// The same Kubernetes user in another App of this operator: its bindings are others' for this one.
func TestResidualAccessByAnotherApp(t *testing.T) {
	w := newWorld(t, nil)
	second := w.app.DeepCopy()
	second.ObjectMeta = metav1.ObjectMeta{Namespace: w.namespace, Name: "second"}
	w.create(second)
	one := w.provision(w.newUser("jane", ""))
	w.eventuallyGranted(one)
	update(w, one, deactivate)
	w.eventuallyResidual(one)

	other := w.newUser("jane", "")
	other.Spec.App = "second"
	w.provision(other)
	w.eventuallyGranted(other)
	var native string
	w.eventually(func() string {
		for _, binding := range w.natives() {
			if binding.Labels[v1alpha1.LabelApp] == "second" {
				native = binding.Name
				return ""
			}
		}
		return "no native binding of App second"
	})
	w.eventuallyResidual(one, native+" User/okta:jane")
	update(w, other, deactivate)
	w.eventuallyResidual(one)
	w.eventuallyResidual(other)
}

// However many there are, the status names a few and counts all.
func TestResidualAccessIsBounded(t *testing.T) {
	w := newWorld(t, nil)
	user := w.provision(w.newUser("popular", ""))
	w.eventuallyGranted(user)
	const many = residualaccess.MaxReported + 8
	for i := range many {
		w.create(w.byHand(fmt.Sprintf("by-hand-%03d", i), userNamed("okta:popular")))
	}
	update(w, user, deactivate)
	w.eventually(func() string {
		if err := env.Client.Get(w.ctx, client.ObjectKeyFromObject(user), user); err != nil {
			return err.Error()
		}
		list := user.Status.ResidualAccess
		if user.Status.ResidualAccessCount != many || len(list) != residualaccess.MaxReported || list[0].Name != "by-hand-000" || list[len(list)-1].Name != "by-hand-031" {
			return fmt.Sprintf("%d counted, %d named", user.Status.ResidualAccessCount, len(list))
		}
		return ""
	})
	c := w.eventuallyCondition(user, v1alpha1.ConditionResidualAccess, metav1.ConditionTrue, v1alpha1.ReasonOtherBindings)
	if !strings.Contains(c.Message, "by-hand-000") || !strings.Contains(c.Message, "39 more") {
		t.Errorf("message %q", c.Message)
	}
}

// A copy of a binding of this operator, with its labels and annotations and under another name, is by another hand: it is no access that
// this operator gives, and no other user is named as having it.
func TestResidualAccessByACopy(t *testing.T) {
	w := newWorld(t, nil)
	jane := w.provision(w.newUser("jane@"+w.namespace, "")) // bindings of other tests name no such user
	w.eventuallyGranted(jane)
	native := w.natives()[0]
	copied := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: native.Namespace, Name: "copied", Labels: native.Labels, Annotations: native.Annotations},
		RoleRef:    native.RoleRef, Subjects: native.Subjects,
	}
	w.create(copied)
	update(w, jane, deactivate)
	w.eventuallyResidual(jane, "copied User/okta:jane@"+w.namespace)
	if one := jane.Status.ResidualAccess[0]; one.App != "" {
		t.Errorf("it is told as a binding of App %s", one.App)
	}
	w.eventuallyCondition(jane, v1alpha1.ConditionAccessRevoked, metav1.ConditionTrue, v1alpha1.ReasonRevoked)
	w.delete(copied)
	w.eventuallyResidual(jane)
}
