package v1alpha1

import (
	"reflect"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

var made = time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)

// statusAt is a status with a condition of that age beside its object.
func statusAt(uid string, since time.Duration) UserStatus {
	return UserStatus{
		UID: uid, ReservedKey: "jane", BoundAs: "okta:jane", Roles: []EarnedRole{{Role: "admin", Scope: "all"}},
		Conditions: []metav1.Condition{{Type: ConditionReady, LastTransitionTime: metav1.NewTime(made.Add(since))}},
	}
}

// A status counts for the object that it names. One without a name, by an earlier version, counts unless it is older than the object.
func TestForeignStatus(t *testing.T) {
	for name, test := range map[string]struct {
		status UserStatus
		uid    string // that is left of a foreign one
	}{
		"its own":                               {statusAt("own", -time.Hour), ""},
		"of another object":                     {statusAt("other", time.Hour), "other"},
		"none":                                  {UserStatus{}, ""},
		"of an earlier version":                 {statusAt("", time.Second), ""},
		"of an earlier version, clocks differ":  {statusAt("", -time.Minute), ""},
		"of an earlier version, another object": {statusAt("", -61*time.Second), unknownOwner},
	} {
		user := &User{ObjectMeta: metav1.ObjectMeta{UID: "own", CreationTimestamp: metav1.NewTime(made)}, Status: test.status}
		if user.HasForeignStatus() != (test.uid != "") {
			t.Errorf("%s: foreign is %t", name, user.HasForeignStatus())
		}
		list := &UserList{Items: []User{*user.DeepCopy()}}
		list.DropForeignStatus()
		for range 2 { // it stays what it is
			user.DropForeignStatus()
		}
		want := test.status
		if test.uid != "" {
			want = UserStatus{UID: test.uid}
		}
		if !reflect.DeepEqual(user.Status, want) || !reflect.DeepEqual(list.Items[0].Status, want) {
			t.Errorf("%s: %+v, want %+v", name, user.Status, want)
		}
		if user.HasForeignStatus() != (test.uid != "") {
			t.Errorf("%s: it is forgotten that it was foreign", name)
		}
	}
}

// Every kind with a status, and its list, can tell which object that is of: informers and clients ask them.
func TestEachStatusHasAnOwner(t *testing.T) {
	kinds := runtime.NewScheme()
	if err := AddToScheme(kinds); err != nil {
		t.Fatal(err)
	}
	type holder interface{ DropForeignStatus() }
	var found []string
	for kind, of := range kinds.KnownTypes(GroupVersion) {
		status, ok := of.FieldByName("Status")
		if !ok || of.PkgPath() != reflect.TypeFor[User]().PkgPath() {
			continue
		}
		found = append(found, kind)
		object := reflect.New(of)
		if _, ok := object.Interface().(holder); !ok {
			t.Errorf("%s does not tell", kind)
			continue
		}
		if _, ok := reflect.New(kinds.KnownTypes(GroupVersion)[kind+"List"]).Interface().(holder); !ok {
			t.Errorf("%sList does not tell", kind)
		}
		field, ok := status.Type.FieldByName("UID")
		if !ok || !strings.HasPrefix(field.Tag.Get("json"), "uid,") {
			t.Errorf("the status of %s names no object", kind)
			continue
		}
		object.Elem().FieldByName("UID").SetString("own")
		object.Elem().FieldByName("Status").FieldByName("UID").SetString("other")
		object.Elem().FieldByName("Status").FieldByName("Conditions").Set(reflect.ValueOf([]metav1.Condition{{Type: ConditionReady}}))
		object.Interface().(holder).DropForeignStatus()
		if object.Elem().FieldByName("Status").FieldByName("Conditions").Len() != 0 {
			t.Errorf("%s believes a status of another object", kind)
		}
	}
	if len(found) < 6 {
		t.Errorf("only %v have a status", found)
	}
}
