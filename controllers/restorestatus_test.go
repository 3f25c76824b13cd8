package controllers_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/membership"
	"github.com/scim-operator/scim-operator/internal/token"
	"github.com/scim-operator/scim-operator/test/testenv"
)

// restorer puts objects back from a backup with their statuses, as a tool for backups does: the object, then its status.
type restorer struct{ *world }

// putBack creates an object anew, and writes the status that it had.
func (w restorer) putBack(object client.Object) client.Object {
	w.Helper()
	made := object.DeepCopyObject().(client.Object)
	made.SetUID("")
	made.SetResourceVersion("")
	made.SetManagedFields(nil)
	made.SetGeneration(0)
	if err := env.Client.Create(w.ctx, made); err != nil {
		w.Fatal(err)
	}
	w.putStatus(made, object)
	return made
}

// putStatus writes the status of one object to another.
func (w restorer) putStatus(to, from client.Object) {
	w.Helper()
	w.eventually(func() string {
		current := to.DeepCopyObject().(client.Object)
		if err := env.Client.Get(w.ctx, client.ObjectKeyFromObject(to), current); err != nil {
			return err.Error()
		}
		switch from := from.(type) {
		case *v1alpha1.User:
			current.(*v1alpha1.User).Status = from.Status
		case *v1alpha1.Group:
			current.(*v1alpha1.Group).Status = from.Status
		case *v1alpha1.App:
			current.(*v1alpha1.App).Status = from.Status
		case *v1alpha1.ScimToken:
			current.(*v1alpha1.ScimToken).Status = from.Status
		case *v1alpha1.OAuthGrant:
			current.(*v1alpha1.OAuthGrant).Status = from.Status
		case *v1alpha1.AppRoleBinding:
			current.(*v1alpha1.AppRoleBinding).Status = from.Status
		default:
			w.Fatalf("%T has no status", from)
		}
		err := env.Client.Status().Update(w.ctx, current)
		if apierrors.IsConflict(err) {
			return err.Error() // the controller was faster
		}
		if err != nil {
			w.Fatal(err)
		}
		return ""
	})
}

// read returns an object as it is stored.
func read[T client.Object](w restorer, object T) T {
	w.Helper()
	current := object.DeepCopyObject().(T)
	if err := env.Client.Get(w.ctx, client.ObjectKeyFromObject(object), current); err != nil {
		w.Fatal(err)
	}
	return current
}

// holders collects the users that AppRoleBindings name at any time, by role, until stop is called.
func (w restorer) holders() (stop func() map[string][]string) {
	w.Helper()
	watching, err := client.NewWithWatch(env.Config, client.Options{Scheme: env.Scheme})
	if err != nil {
		w.Fatal(err)
	}
	ctx, cancel := context.WithCancel(w.ctx)
	events, err := watching.Watch(ctx, &v1alpha1.AppRoleBindingList{}, client.InNamespace(w.namespace))
	if err != nil {
		cancel()
		w.Fatal(err)
	}
	named := map[string][]string{}
	var done sync.WaitGroup
	done.Go(func() {
		for event := range events.ResultChan() {
			if binding, ok := event.Object.(*v1alpha1.AppRoleBinding); ok {
				for _, subject := range binding.Spec.Subjects {
					named[binding.Spec.RoleRef.Name] = append(named[binding.Spec.RoleRef.Name], subject.User)
				}
			}
		}
	})
	return func() map[string][]string {
		cancel()
		done.Wait()
		return named
	}
}

// Statuses that come back with their objects say of other objects that a name was reserved, access granted or gone. A user with a
// name that another user took meanwhile is not effective, nor is a group; a leaver with a status from the time when it worked has no access.
func TestRestoredStatusesCountAsNone(t *testing.T) {
	for title, away := range map[string]bool{"while the controller runs": false, "before the controller starts": true} {
		t.Run(title, func(t *testing.T) {
			w := restorer{newWorld(t, func(spec *v1alpha1.AppSpec) { spec.Roles[1].Groups = []string{"Staff"} })}
			stays, renamed, leaver, late := w.provision(w.newUser("jane", "")), w.provision(w.newUser("john", "")),
				w.provision(w.newUser("lea", "")), w.provision(w.newUser("lou", ""))
			group := w.push("Staff", membership.InlineLimit, stays.Name)
			w.eventuallyRoles(stays, `admin: member of group "Staff"`)
			for _, user := range []*v1alpha1.User{renamed, leaver, late} {
				w.eventuallyGranted(user)
			}
			worked := read(w, late)
			for _, user := range []*v1alpha1.User{leaver, late} {
				update(w, user, func(u *v1alpha1.User) { u.Spec.Active = false })
				w.eventuallyCondition(user, v1alpha1.ConditionAccessRevoked, metav1.ConditionTrue, v1alpha1.ReasonRevoked)
			}
			worked.Spec = late.Spec // the leaver, with the status of the time before
			w.eventually(func() string {
				if !read(w, group).IsNameReserved() {
					return "the group's name is not reserved"
				}
				return ""
			})
			old := []client.Object{read(w, stays), read(w, renamed), read(w, leaver), worked, read(w, group)}
			backup := w.backup()
			w.stop()
			w.wipe(backup)
			rival, rivalGroup := w.provision(w.newUser("john", "")), w.push("Staff", membership.InlineLimit, rival0)
			named := w.holders()
			if !away {
				w.start()
				w.eventuallyGranted(rival)
			}
			w.world.putBack(backup["claim"])
			restored := make([]client.Object, len(old))
			for i, object := range old {
				restored[i] = w.putBack(object)
			}
			if away {
				w.start()
			}

			isOwn := func(object client.Object) string {
				status := uidOf(read(w, object))
				if status != string(object.GetUID()) {
					return fmt.Sprintf("the status of %s is that of %q, want %q", object.GetName(), status, object.GetUID())
				}
				return ""
			}
			for _, object := range restored {
				w.eventually(func() string { return isOwn(object) })
			}
			w.eventuallyGranted(restored[0].(*v1alpha1.User))
			w.eventuallyCan("okta:jane", "get", w.namespace, true)
			w.eventuallyCondition(restored[1], v1alpha1.ConditionNameReserved, metav1.ConditionFalse, v1alpha1.ReasonNameTaken)
			for _, object := range restored[2:4] {
				user := object.(*v1alpha1.User)
				w.eventuallyCondition(user, v1alpha1.ConditionAccessRevoked, metav1.ConditionTrue, v1alpha1.ReasonRevoked)
				if c := meta.FindStatusCondition(user.Status.Conditions, v1alpha1.ConditionAccessGranted); c.Status != metav1.ConditionFalse || user.Status.RoleNames != "" {
					t.Errorf("the leaver %s has %q: %+v", user.Name, user.Status.RoleNames, c)
				}
				w.eventuallyCan("okta:"+user.Spec.UserName, "get", w.namespace, false)
			}
			w.eventuallyGranted(rival)
			w.eventually(func() string {
				if read(w, restored[4].(*v1alpha1.Group)).IsNameReserved() || !read(w, rivalGroup).IsNameReserved() {
					return "the restored group has the name"
				}
				return ""
			})
			w.eventuallyRoles(restored[0].(*v1alpha1.User), "viewer: default role of the App")
			for role, users := range named() {
				for _, wrong := range []string{renamed.Name, leaver.Name, late.Name} {
					if slices.Contains(users, wrong) {
						t.Errorf("an AppRoleBinding of %s named %s after the restore", role, wrong)
					}
				}
				if role == "admin" && slices.Contains(users, stays.Name) {
					t.Errorf("the restored group conferred %s", role)
				}
			}
		})
	}
}

// rival0 is a member that is no user.
const rival0 = "none-0000000000"

func uidOf(object client.Object) string {
	switch object := object.(type) {
	case *v1alpha1.User:
		return object.Status.UID
	case *v1alpha1.Group:
		return object.Status.UID
	case *v1alpha1.App:
		return object.Status.UID
	case *v1alpha1.ScimToken:
		return object.Status.UID
	case *v1alpha1.OAuthGrant:
		return object.Status.UID
	case *v1alpha1.AppRoleBinding:
		return object.Status.UID
	}
	return ""
}

// Every kind's status is written anew within a second after one of another object came in its place, also where all that it says could be
// so: kubectl wait and printed columns go by it.
func TestForeignStatusesAreReplaced(t *testing.T) {
	w := restorer{newWorld(t, withOAuth)}
	user, group := w.provision(w.newUser("jane", "")), w.push("Staff", membership.InlineLimit)
	w.eventuallyGranted(user)
	const secret = "a token of another App"
	listed := tokens(w).newToken("listed", v1alpha1.ScimTokenSpec{Digest: token.Digest("a token of the test")})
	unlisted := tokens(w).newUnlistedToken("unlisted", v1alpha1.ScimTokenSpec{Digest: token.Digest(secret)})
	grant := w.newGrant()
	w.create(grant)
	bindings := func() *v1alpha1.AppRoleBinding {
		w.eventually(func() string {
			if list := w.bindings(); len(list) != 1 || list[0].Status.ObservedGeneration != list[0].Generation {
				return "no AppRoleBinding with a status"
			}
			return ""
		})
		return &w.bindings()[0]
	}
	believable := metav1.Condition{
		Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue, Reason: "Restored", Message: "from a backup", LastTransitionTime: metav1.Now(),
	}
	now := metav1.NewTime(time.Now().Truncate(time.Second))
	for name, test := range map[string]struct {
		object client.Object
		forge  func(client.Object)
		wrong  func(client.Object) string
	}{
		"User": {user, func(object client.Object) {
			status := &object.(*v1alpha1.User).Status
			status.Conditions, status.BoundAs, status.KubernetesUsername = []metav1.Condition{believable}, "kubernetes-admin", "kubernetes-admin"
		}, func(object client.Object) string {
			if status := object.(*v1alpha1.User).Status; status.BoundAs != "okta:jane" || status.KubernetesUsername != "okta:jane" || status.RoleNames != "viewer" {
				return fmt.Sprintf("%+v", status)
			}
			return ""
		}},
		"Group": {group, func(object client.Object) {
			status := &object.(*v1alpha1.Group).Status
			status.Conditions, status.ReservedKey, status.Members, status.Roles = []metav1.Condition{believable}, "admins", 7, []string{"admin"}
		}, func(object client.Object) string {
			if status := object.(*v1alpha1.Group).Status; status.ReservedKey != "staff" || status.Members != 0 || len(status.Roles) > 0 {
				return fmt.Sprintf("%+v", status)
			}
			return ""
		}},
		"App": {w.app, func(object client.Object) {
			status := &object.(*v1alpha1.App).Status
			status.Conditions, status.Removals = []metav1.Condition{believable}, &v1alpha1.Removals{Released: "before"}
		}, func(object client.Object) string {
			if status := object.(*v1alpha1.App).Status; status.Removals != nil || !status.Enforced || status.Users != 1 {
				return fmt.Sprintf("%+v", status)
			}
			return ""
		}},
		"ScimToken that the App lists": {listed, func(object client.Object) {
			status := &object.(*v1alpha1.ScimToken).Status
			status.Conditions, status.Digest, status.LastUsedTime = []metav1.Condition{believable}, token.Digest(secret), &now
		}, func(object client.Object) string {
			if status := object.(*v1alpha1.ScimToken).Status; status.Digest != listed.Spec.Digest || status.LastUsedTime != nil {
				return fmt.Sprintf("%+v", status)
			}
			return ""
		}},
		"ScimToken that the App does not list": {unlisted, func(object client.Object) {
			status := &object.(*v1alpha1.ScimToken).Status
			status.Digest = token.Digest(secret)
			status.Rotation = &v1alpha1.TokenRotationStatus{SecretName: "x", Serial: 2, MadeTime: now, Former: &v1alpha1.FormerToken{
				SecretName: "y", Digest: token.Digest(secret), TokenID: token.ID(token.Digest(secret)), Until: metav1.NewTime(now.Add(time.Hour)),
			}}
		}, func(object client.Object) string {
			if status := object.(*v1alpha1.ScimToken).Status; status.Digest != "" || status.Rotation != nil ||
				!meta.IsStatusConditionFalse(status.Conditions, v1alpha1.ConditionAccepted) {
				return fmt.Sprintf("%+v", status)
			}
			return ""
		}},
		"OAuthGrant": {grant, func(object client.Object) {
			status := &object.(*v1alpha1.OAuthGrant).Status
			status.Code = &v1alpha1.OAuthCode{Digest: token.Digest(secret), ExpiresAt: now, UsedAt: &now}
			status.Refresh = &v1alpha1.OAuthRefresh{Digest: token.Digest(secret), IssuedAt: now, ExpiresAt: metav1.NewTime(now.Add(time.Hour))}
		}, func(object client.Object) string {
			if status := object.(*v1alpha1.OAuthGrant).Status; status.Code != nil || status.Refresh != nil ||
				!meta.IsStatusConditionFalse(status.Conditions, v1alpha1.ConditionActive) {
				return fmt.Sprintf("%+v", status)
			}
			return ""
		}},
		"AppRoleBinding": {bindings(), func(object client.Object) {
			status := &object.(*v1alpha1.AppRoleBinding).Status
			status.Conditions, status.NativeBindingCount, status.NativeBindings = []metav1.Condition{believable}, 0, nil
		}, func(object client.Object) string {
			if status := object.(*v1alpha1.AppRoleBinding).Status; status.NativeBindingCount != 1 {
				return fmt.Sprintf("%+v", status)
			}
			return ""
		}},
	} {
		t.Run(name, func(t *testing.T) {
			w := restorer{w.with(t)}
			w.eventually(func() string {
				if uidOf(read(w, test.object)) != string(test.object.GetUID()) {
					return "the status is not written yet"
				}
				return ""
			})
			for _, owner := range []string{"11111111-2222-3333-4444-555555555555", ""} {
				testenv.MostlyWithin(t, "a status that names "+owner+" is replaced", time.Second, 3, func() time.Duration {
					w.eventually(func() string { return test.wrong(read(w, test.object)) })
					forged := read(w, test.object)
					test.forge(forged)
					setOwner(forged, owner)
					w.putStatus(forged, forged)
					from := time.Now()
					w.eventually(func() string {
						current := read(w, test.object)
						if uid := uidOf(current); uid != string(current.GetUID()) {
							return "the status names " + uid
						}
						return test.wrong(current)
					})
					return time.Since(from)
				})
			}
		})
	}
}

func withOAuth(spec *v1alpha1.AppSpec) {
	spec.OAuth = &v1alpha1.OAuth{ClientID: "okta", OktaAppName: "acme_1", ClientSecret: v1alpha1.OAuthClientSecret{Name: "client"}}
}

// newGrant returns the request of a client for a connection, not written yet.
func (w restorer) newGrant() *v1alpha1.OAuthGrant {
	return &v1alpha1.OAuthGrant{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: w.app.Name + "-bcdfghjk", Labels: map[string]string{v1alpha1.LabelGrant: w.app.Name + "-bcdfghjk"}},
		Spec: v1alpha1.OAuthGrantSpec{
			App: w.app.Name, AppUID: string(w.app.UID), ClientID: "okta", UserCode: "BCDF-GHJK",
			RedirectURI: "https://system-admin.okta.com/admin/app/cpc/acme_1/oauth/callback", BrowserDigest: token.Digest("a browser"),
			ExpiresAt: metav1.NewTime(time.Now().Add(10 * time.Minute).Truncate(time.Second)),
		},
	}
}

// While no controller replaces the status of another object, the server may write a grant's own, and takes nothing of the other over.
func TestServerReplacesForeignStatus(t *testing.T) {
	w := restorer{newStoppedWorld(t, withOAuth)}
	config, err := env.ControlPlane.UserConfig("system:serviceaccount:scim-operator-system:scim-operator-server",
		"system:serviceaccounts", "system:serviceaccounts:scim-operator-system", "system:authenticated")
	if err != nil {
		t.Fatal(err)
	}
	server, err := client.New(config, client.Options{Scheme: env.Scheme})
	if err != nil {
		t.Fatal(err)
	}
	grant := w.newGrant()
	w.create(grant)
	const other = "11111111-2222-3333-4444-555555555555"
	foreign := v1alpha1.OAuthGrantStatus{
		UID: other, Ended: &v1alpha1.OAuthEnd{Reason: v1alpha1.ReasonRevoked, Time: metav1.Now()},
		Conditions: []metav1.Condition{{Type: v1alpha1.ConditionActive, Status: metav1.ConditionTrue, Reason: "Connected", LastTransitionTime: metav1.Now()}},
	}
	for name, test := range map[string]struct {
		write   func(*v1alpha1.OAuthGrantStatus, string)
		refused bool
	}{
		"nothing of it":  {func(s *v1alpha1.OAuthGrantStatus, uid string) { *s = v1alpha1.OAuthGrantStatus{UID: uid} }, false},
		"its conditions": {func(s *v1alpha1.OAuthGrantStatus, uid string) { s.UID = uid }, true},
		"its owner":      {func(s *v1alpha1.OAuthGrantStatus, _ string) { s.Ended = nil }, true},
	} {
		grant.Status = foreign
		if err := env.Client.Status().Update(t.Context(), grant); err != nil {
			t.Fatal(err)
		}
		test.write(&grant.Status, string(grant.UID))
		written := grant.DeepCopy()
		if err := server.Status().Update(t.Context(), written); test.refused && !apierrors.IsForbidden(err) || !test.refused && err != nil {
			t.Errorf("the server takes over %s: %v, refused should be %t", name, err, test.refused)
		}
		grant = read(w, grant)
	}
}

// setOwner has a status be one of an object with another UID, or, for "", one that an earlier version wrote for an object that is no more.
func setOwner(object client.Object, uid string) {
	var conditions []metav1.Condition
	switch object := object.(type) {
	case *v1alpha1.User:
		object.Status.UID, conditions = uid, object.Status.Conditions
	case *v1alpha1.Group:
		object.Status.UID, conditions = uid, object.Status.Conditions
	case *v1alpha1.App:
		object.Status.UID, conditions = uid, object.Status.Conditions
	case *v1alpha1.ScimToken:
		object.Status.UID, conditions = uid, object.Status.Conditions
	case *v1alpha1.OAuthGrant:
		object.Status.UID, conditions = uid, object.Status.Conditions
	case *v1alpha1.AppRoleBinding:
		object.Status.UID, conditions = uid, object.Status.Conditions
	}
	if uid == "" {
		for i := range conditions {
			conditions[i].LastTransitionTime = metav1.NewTime(object.GetCreationTimestamp().Add(-time.Hour))
		}
	}
}
