package controllers

import (
	"fmt"
	"hash/maphash"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unsafe"

	rbacv1 "k8s.io/api/rbac/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// Users share texts and labels in the cache, have no room for more, and are the same Users.
func TestCompact(t *testing.T) {
	newUser := func() *v1alpha1.User {
		return &v1alpha1.User{
			ObjectMeta: metav1.ObjectMeta{Namespace: "directory", Name: "jane", Finalizers: []string{strings.Clone("some")}, Labels: map[string]string{v1alpha1.LabelApp: "demo"}},
			Spec: v1alpha1.UserSpec{
				App: strings.Clone("demo"), UserName: strings.Clone("jane"), UserNameKey: strings.Clone("jane"),
				Locale: strings.Clone("en"), DisplayName: strings.Clone("Jane Roe"), Name: &v1alpha1.Name{Formatted: strings.Clone("Jane Roe"), GivenName: "Jane"},
				Emails: append(make([]v1alpha1.MultiValue, 0, 4), v1alpha1.MultiValue{Value: strings.Clone("jane"), Type: strings.Clone("work")}),
			},
			Status: v1alpha1.UserStatus{
				KubernetesUsername: strings.Clone("okta:jane"), ReservedKey: strings.Clone("jane"),
				Roles:      []v1alpha1.EarnedRole{{Role: strings.Clone("viewer"), Scope: "default", Reasons: []string{strings.Clone("default role of the App")}}},
				Conditions: []metav1.Condition{{Type: "Ready", Status: metav1.ConditionTrue, Message: strings.Clone("Every role held is bound.")}},
			},
		}
	}
	var cached [2]*v1alpha1.User
	for i := range cached {
		user := newUser()
		user.ManagedFields = []metav1.ManagedFieldsEntry{{Manager: "somebody"}}
		object, err := compact(user)
		if err != nil {
			t.Fatal(err)
		}
		cached[i] = object.(*v1alpha1.User)
		if !apiequality.Semantic.DeepEqual(cached[i], newUser()) {
			t.Errorf("got %+v", cached[i])
		}
	}
	for name, text := range map[string]func(*v1alpha1.User) string{
		"app":     func(u *v1alpha1.User) string { return u.Spec.App },
		"reason":  func(u *v1alpha1.User) string { return u.Status.Roles[0].Reasons[0] },
		"message": func(u *v1alpha1.User) string { return u.Status.Conditions[0].Message },
		"locale":  func(u *v1alpha1.User) string { return u.Spec.Locale },
	} {
		if unsafe.StringData(text(cached[0])) != unsafe.StringData(text(cached[1])) {
			t.Errorf("%s is there twice", name)
		}
	}
	end := unsafe.Pointer(unsafe.StringData(cached[0].Status.KubernetesUsername[len("okta:"):]))
	for name, text := range map[string]string{
		"userName": cached[0].Spec.UserName, "userNameKey": cached[0].Spec.UserNameKey,
		"reservedKey": cached[0].Status.ReservedKey, "address": cached[0].Spec.Emails[0].Value,
	} {
		if unsafe.Pointer(unsafe.StringData(text)) != end {
			t.Errorf("%s is no part of the Kubernetes user name", name)
		}
	}
	if reflect.ValueOf(cached[0].Labels).Pointer() != reflect.ValueOf(cached[1].Labels).Pointer() {
		t.Error("the labels are there twice")
	}
	for name, list := range map[string]func(*v1alpha1.User) unsafe.Pointer{
		"roles":      func(u *v1alpha1.User) unsafe.Pointer { return unsafe.Pointer(unsafe.SliceData(u.Status.Roles)) },
		"conditions": func(u *v1alpha1.User) unsafe.Pointer { return unsafe.Pointer(unsafe.SliceData(u.Status.Conditions)) },
		"finalizers": func(u *v1alpha1.User) unsafe.Pointer { return unsafe.Pointer(unsafe.SliceData(u.Finalizers)) },
	} {
		if list(cached[0]) != list(cached[1]) {
			t.Errorf("the %s are there twice", name)
		}
	}
	if emails := cached[0].Spec.Emails; cap(emails) != len(emails) {
		t.Errorf("room for %d addresses, not 1", cap(emails))
	}
}

// fill gives a value, and all that it points to, contents that differ from place to place, for a seed. Lists have room for more.
func fill(value reflect.Value, seed *int) {
	*seed++
	switch object := value.Addr().Interface().(type) {
	case *metav1.Time:
		*object = metav1.Unix(int64(*seed), 0)
		return
	case *metav1.MicroTime:
		*object = metav1.NewMicroTime(time.Unix(int64(*seed), 1000))
		return
	case *runtime.RawExtension:
		object.Raw = fmt.Appendf(make([]byte, 0, 64), `{"a":%d}`, *seed)
		return
	}
	switch value.Kind() {
	case reflect.Struct:
		for i := range value.NumField() {
			fill(value.Field(i), seed)
		}
	case reflect.Pointer:
		value.Set(reflect.New(value.Type().Elem()))
		fill(value.Elem(), seed)
	case reflect.Slice:
		value.Set(reflect.MakeSlice(value.Type(), 2, 8))
		for i := range value.Len() {
			fill(value.Index(i), seed)
		}
	case reflect.Map:
		value.Set(reflect.MakeMap(value.Type()))
		for range 2 {
			key, element := reflect.New(value.Type().Key()).Elem(), reflect.New(value.Type().Elem()).Elem()
			fill(key, seed)
			fill(element, seed)
			value.SetMapIndex(key, element)
		}
	case reflect.String:
		value.SetString(fmt.Sprintf("text-%d", *seed))
	case reflect.Bool:
		value.SetBool(*seed%2 == 0)
	case reflect.Uint8:
		value.SetUint(uint64(*seed % 256))
	case reflect.Int32, reflect.Int64:
		value.SetInt(int64(*seed))
	default:
		panic(value.Kind())
	}
}

// Nothing that an object says is lost on its way into the cache or changed, whatever it has and however often it is handed over, but for managed fields.
// Objects that are equal, and others that share with them, are told apart.
func TestTransformsKeepEverything(t *testing.T) {
	for _, test := range []struct {
		of        client.Object
		transform func(any) (any, error)
	}{
		{&v1alpha1.User{}, compact}, {&v1alpha1.AppRoleBinding{}, compactBinding},
		{&rbacv1.RoleBinding{}, compactBinding}, {&rbacv1.ClusterRoleBinding{}, compactBinding},
	} {
		t.Run(fmt.Sprintf("%T", test.of), func(t *testing.T) {
			var cached, want []client.Object
			for i := range 40 {
				object := test.of.DeepCopyObject().(client.Object)
				if seed := i / 2 * 1000; i > 0 { // the first is empty, and of the others two are equal
					fill(reflect.ValueOf(object).Elem(), &seed)
				}
				if user, isUser := object.(*v1alpha1.User); isUser && i%4 > 1 {
					user.Spec.UserNameKey, user.Spec.UserName = "x.jane", "jane" // the part is the longer one
					user.Status.KubernetesUsername, user.Spec.Name, user.Spec.CreatedAt = "okta:jane", nil, nil
				}
				wanted := object.DeepCopyObject().(client.Object)
				wanted.SetManagedFields(nil)
				for range 1 + i%3 {
					transformed, err := test.transform(object)
					if err != nil {
						t.Fatal(err)
					}
					object = transformed.(client.Object)
				}
				cached, want = append(cached, object), append(want, wanted)
			}
			for i := range cached {
				if !reflect.DeepEqual(cached[i], want[i]) {
					t.Errorf("%d: got %+v, want %+v", i, cached[i], want[i])
				}
				if !reflect.DeepEqual(cached[i].DeepCopyObject(), want[i].DeepCopyObject()) {
					t.Errorf("%d: a copy is another", i)
				}
			}
		})
	}
}

// A second call leaves a User as it is: the cache may have handed it out.
func TestCompactTwice(t *testing.T) {
	user := &v1alpha1.User{Spec: v1alpha1.UserSpec{CreatedAt: &metav1.MicroTime{Time: time.Unix(1, 0)}}}
	first, err := compact(user)
	if err != nil || first == any(user) {
		t.Fatalf("not packed, error %v", err)
	}
	if second, err := compact(first); err != nil || second != first {
		t.Errorf("packed a second time, error %v", err)
	}
	if isPacked(&v1alpha1.User{}) {
		t.Error("a User without a time of creation counts as packed")
	}
}

// Of lists that come to one place each User has its own.
func TestSharedListsCollide(t *testing.T) {
	l := lists[string]{write: func(*maphash.Hash, *string) {}, equal: isSameText}
	for i := range 100 {
		want := []string{fmt.Sprint(i % 3), "x"}
		if got := l.shared(slices.Clone(want)); !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
	}
	if l.shared(nil) != nil {
		t.Error("no list became one")
	}
}

// The subjects of a binding are parts of one text each, and have no room for more.
func TestCompactBinding(t *testing.T) {
	binding := &rbacv1.RoleBinding{Subjects: append(make([]rbacv1.Subject, 0, 8), rbacv1.Subject{Kind: "User", Name: strings.Clone("jane")}, rbacv1.Subject{Kind: "User", Name: strings.Clone("joe")})}
	if _, err := compactBinding(binding); err != nil {
		t.Fatal(err)
	}
	subjects := binding.Subjects
	if unsafe.Pointer(unsafe.StringData(subjects[1].Name)) != unsafe.Add(unsafe.Pointer(unsafe.StringData(subjects[0].Name)), len("jane")) {
		t.Error("the second name does not follow the first")
	}
	if cap(subjects) != len(subjects) || subjects[1].Name != "joe" {
		t.Errorf("subjects %v, room for %d", subjects, cap(subjects))
	}
}
