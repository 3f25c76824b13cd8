package access

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// neutralFields are those with edits that evaluate no user anew. A field that is new in AppSpec counts until it is put here
// and into neutral.
var neutralFields = []string{
	".DisplayName", ".ExternalURL", ".DeletionPolicy", ".Tokens", ".OIDC", ".Deactivation.ConfirmWithin",
	".Provisioning.ImportUsers", ".Provisioning.CreateUsers", ".Provisioning.UpdateUsers", ".Provisioning.DeactivateUsers", ".Provisioning.PushGroups",
	".Attributes[0].Description", ".Roles[0].DisplayName", ".Roles[0].Description", ".Scopes.List[0].DisplayName",
}

// Every field of an App that can decide about access makes another state, and no other field does.
func TestStateCountsEveryFieldButTheNeutralOnes(t *testing.T) {
	filled := func() *v1alpha1.App {
		app := &v1alpha1.App{}
		fill(reflect.ValueOf(&app.Spec).Elem(), 0)
		return app
	}
	before := StateOf(filled())
	var paths []string
	leaves(reflect.ValueOf(&filled().Spec).Elem(), "", func(path string, _ reflect.Value) { paths = append(paths, path) })
	if len(paths) < 40 {
		t.Fatalf("only %d fields were found", len(paths))
	}
	for _, path := range paths {
		app := filled()
		leaves(reflect.ValueOf(&app.Spec).Elem(), "", func(at string, value reflect.Value) {
			if at == path {
				change(value)
			}
		})
		isNeutral := slices.ContainsFunc(neutralFields, func(field string) bool {
			return path == field || strings.HasPrefix(path, field+".") || strings.HasPrefix(path, field+"[")
		})
		if differs := StateOf(app) != before; differs == isNeutral {
			t.Errorf("a change of spec%s makes another state: %t, want %t", path, differs, !isNeutral)
		}
	}
	app := filled()
	app.DeletionTimestamp = &metav1.Time{Time: time.Now()}
	if StateOf(app) == before {
		t.Error("an App that is being deleted has the state of one that is not")
	}
}

func TestStateOfLeavesTheAppAsItIs(t *testing.T) {
	app := &v1alpha1.App{}
	fill(reflect.ValueOf(&app.Spec).Elem(), 0)
	before := app.DeepCopy()
	StateOf(app)
	if !reflect.DeepEqual(before, app) {
		t.Error("the App was changed")
	}
}

// A policy outlives edits of what says nothing of access, and comes back after others were undone.
func TestCacheGoesByState(t *testing.T) {
	app := &v1alpha1.App{ObjectMeta: metav1.ObjectMeta{UID: types.UID("one"), Generation: 1}}
	app.Spec.Roles = []v1alpha1.Role{{Name: "viewer"}}
	edit := func(change func(*v1alpha1.AppSpec)) {
		app = app.DeepCopy()
		app.Generation++
		change(&app.Spec)
	}
	var cache Cache
	first, _ := cache.Compile(app)
	edit(func(s *v1alpha1.AppSpec) { s.DisplayName = "Another" })
	cache.Supersede(app)
	if same, _ := cache.Compile(app); same != first || same.superseded.Err() != nil {
		t.Error("another display name made another policy")
	}
	former := app
	edit(func(s *v1alpha1.AppSpec) { s.Roles[0].When = "true" })
	cache.Supersede(app)
	if first.superseded.Err() == nil {
		t.Error("evaluations by the former policy were not stopped")
	}
	if second, _ := cache.Compile(app); second == first {
		t.Error("an expression made no other policy")
	}
	app.Spec = *former.Spec.DeepCopy()
	app.Generation++
	if third, _ := cache.Compile(app); third == first || third.superseded.Err() != nil {
		t.Error("after an edit that was undone the policy is one that was stopped")
	}
}

// fill sets every field of a value, with one element in each slice and map.
func fill(value reflect.Value, depth int) {
	if depth > 12 {
		return
	}
	switch value.Kind() {
	case reflect.Pointer:
		value.Set(reflect.New(value.Type().Elem()))
		fill(value.Elem(), depth+1)
	case reflect.Struct:
		for i := range value.NumField() {
			if value.Type().Field(i).IsExported() {
				fill(value.Field(i), depth+1)
			}
		}
	case reflect.Slice:
		value.Set(reflect.MakeSlice(value.Type(), 1, 1))
		fill(value.Index(0), depth+1)
	case reflect.Map:
		value.Set(reflect.MakeMap(value.Type()))
		value.SetMapIndex(reflect.ValueOf("key"), reflect.ValueOf("value"))
	case reflect.String:
		value.SetString("text")
	case reflect.Bool:
		value.SetBool(true)
	case reflect.Int32, reflect.Int64, reflect.Int:
		value.SetInt(7)
	default:
		panic(fmt.Sprintf("no filling for %v", value.Type()))
	}
}

// leaves visits every value that holds no other.
func leaves(value reflect.Value, path string, visit func(string, reflect.Value)) {
	switch value.Kind() {
	case reflect.Pointer:
		leaves(value.Elem(), path, visit)
	case reflect.Struct:
		for i := range value.NumField() {
			if field := value.Type().Field(i); field.IsExported() {
				leaves(value.Field(i), path+"."+field.Name, visit)
			}
		}
	case reflect.Slice:
		for i := range value.Len() {
			leaves(value.Index(i), fmt.Sprintf("%s[%d]", path, i), visit)
		}
	default:
		visit(path, value)
	}
}

// change gives a leaf another value.
func change(value reflect.Value) {
	switch value.Kind() {
	case reflect.String:
		value.SetString("other")
	case reflect.Bool:
		value.SetBool(false)
	case reflect.Map:
		value.SetMapIndex(reflect.ValueOf("key"), reflect.ValueOf("other"))
	default:
		value.SetInt(8)
	}
}
