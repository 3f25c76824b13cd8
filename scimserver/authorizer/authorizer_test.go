package authorizer

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/userlookup"
)

// app is one with a prefix that denies requests.
func app(name, prefix string) *v1alpha1.App {
	app := &v1alpha1.App{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name}}
	app.Spec.Kubernetes.UsernamePrefix, app.Spec.Deactivation.DenyRequests = &prefix, true
	return app
}

// knowing has seen Apps with these prefixes, and no user.
func knowing(apps map[string]string) *Authorizer {
	a := &Authorizer{
		index: userlookup.New(func(types.NamespacedName) []*v1alpha1.User { return nil }),
		lists: map[types.NamespacedName]revocations{},
	}
	for name, prefix := range apps {
		a.index.PutApp(app(name, prefix))
	}
	return a
}

func user(name string, active bool) *v1alpha1.User {
	u := &v1alpha1.User{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name}}
	u.Spec = v1alpha1.UserSpec{App: "app", UserName: name, UserNameKey: name, Active: active}
	u.Status.ReservedKey, u.Status.KubernetesUsername = name, "okta:"+name
	return u
}

func listOf(name string, entries map[string]time.Time) *v1alpha1.RevocationList {
	list := &v1alpha1.RevocationList{ObjectMeta: metav1.ObjectMeta{Namespace: "system", Name: name}}
	list.Spec.App, list.Spec.Prefix = v1alpha1.RevocationListApp{Namespace: "ns", Name: "app"}, "okta:"
	list.Spec.SetUsers(entries)
	return list
}

// A list denies the names of users that are gone: until their entry expires, only by the list that is called after its App, and no name of
// another App, of Kubernetes, or of an administrator of the cluster.
func TestDeniedByAList(t *testing.T) {
	later := time.Now().Add(time.Hour)
	a := knowing(map[string]string{"app": "okta:", "longer": "okta:x:"})
	a.index.PutUser(user("back", true))
	a.index.PutUser(user("left", false))
	own := listOf("ns.app", map[string]time.Time{
		"okta:gone": later, "okta:over": time.Now().Add(-time.Second), "okta:back": later, "okta:x:jane": later, "system:kube-scheduler": later,
	})
	a.sawList(own)
	a.sawList(listOf("other", map[string]time.Time{"okta:foreign": later}))
	for _, test := range []struct {
		name   string
		groups []string
		want   bool
	}{
		{"okta:gone", nil, true},
		{"okta:gone", []string{"staff"}, true},
		{"okta:gone", []string{"staff", "system:masters"}, false},
		{"okta:left", nil, true},
		{"okta:left", []string{"system:masters"}, false},
		{"okta:over", nil, false},
		{"okta:back", nil, false},
		{"okta:x:jane", nil, false},
		{"okta:foreign", nil, false},
		{"okta:stranger", nil, false},
		{"system:kube-scheduler", nil, false},
		{"", nil, false},
	} {
		if got := a.Denied(test.name, test.groups); got != test.want {
			t.Errorf("%q in %q is denied: %t, want %t", test.name, test.groups, got, test.want)
		}
	}
	a.lostList(listOf("other", nil))
	if !a.Denied("okta:gone", nil) {
		t.Error("the end of a list of another name ends the App's")
	}
	a.lostList(own)
	if a.Denied("okta:gone", nil) {
		t.Error("denied by a list that is gone")
	}
}
