package approlebinding

import (
	"fmt"
	"strings"
	"testing"

	"github.com/go-logr/logr"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/controllers/approlebinding/overlay"
	"github.com/scim-operator/scim-operator/internal/earned"
)

var viewRef = rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "view"}

func nativeBinding(key earned.RoleInScope, index int32) *rbacv1.RoleBinding {
	id := overlay.ID{Kind: overlay.KindRoleBinding, Namespace: "place", Name: nativeName(key, index, viewRef)}
	return buildNative(key, id, index, viewRef, nil, nil).(*rbacv1.RoleBinding)
}

func TestMarksBelongToNames(t *testing.T) {
	key := inScope("ns", "app", "viewer", "default")
	longNamed := inScope("ns", strings.Repeat("a", 63), "viewer", "default")
	for title, test := range map[string]struct {
		key    earned.RoleInScope
		change func(*rbacv1.RoleBinding)
		want   bool
	}{
		"as it was made":           {key, func(*rbacv1.RoleBinding) {}, true},
		"made for a long name":     {longNamed, func(*rbacv1.RoleBinding) {}, true},
		"without labels":           {key, func(b *rbacv1.RoleBinding) { b.Labels = nil }, false},
		"without annotations":      {key, func(b *rbacv1.RoleBinding) { b.Annotations = nil }, false},
		"marked for another App":   {key, func(b *rbacv1.RoleBinding) { b.Labels[v1alpha1.LabelApp] = "other" }, false},
		"marked for another role":  {key, func(b *rbacv1.RoleBinding) { b.Annotations[annotationRole] = "other" }, false},
		"marked for another chunk": {key, func(b *rbacv1.RoleBinding) { b.Labels[v1alpha1.LabelBinding] = labelValue(bindingName(key, 4)) }, false},
		"marked for no chunk":      {key, func(b *rbacv1.RoleBinding) { b.Labels[v1alpha1.LabelBinding] = "x" }, false},
		"long and for no chunk":    {longNamed, func(b *rbacv1.RoleBinding) { b.Labels[v1alpha1.LabelBinding] = "hash-x" }, false},
		"another role bound":       {key, func(b *rbacv1.RoleBinding) { b.RoleRef.Name = "edit" }, false},
	} {
		for _, index := range []int32{0, 3, 17} {
			binding := nativeBinding(test.key, index)
			test.change(binding)
			if got := isMarked(binding); got != test.want {
				t.Errorf("%s, index %d: %v", title, index, got)
			}
			if !madeName.MatchString(binding.Name) {
				t.Errorf("%s is no name as they are made", binding.Name)
			}
		}
	}
}

// Two caches show a binding, each in its own time: in the end it counts as unlabelled if its last state is.
func TestUnlabelledFollowBothCaches(t *testing.T) {
	key := inScope("ns", "app", "viewer", "default")
	marked, stripped, misled := nativeBinding(key, 0), nativeBinding(key, 0), nativeBinding(key, 0)
	stripped.Labels, stripped.Annotations = nil, nil
	misled.Labels[v1alpha1.LabelApp] = "other"
	type step func(own, others toolscache.ResourceEventHandler)
	for title, test := range map[string]struct {
		steps []step
		want  bool
	}{
		"made": {[]step{func(own, _ toolscache.ResourceEventHandler) { own.OnAdd(marked, false) }}, false},
		"stripped before this process began": {[]step{
			func(_, others toolscache.ResourceEventHandler) { others.OnAdd(stripped, true) },
		}, true},
		"misled": {[]step{func(own, _ toolscache.ResourceEventHandler) { own.OnUpdate(marked, misled) }}, true},
		"misled and mended": {[]step{
			func(own, _ toolscache.ResourceEventHandler) { own.OnAdd(misled, true) },
			func(own, _ toolscache.ResourceEventHandler) { own.OnUpdate(misled, marked) },
		}, false},
		"stripped and mended": {[]step{
			func(own, _ toolscache.ResourceEventHandler) { own.OnDelete(marked) },
			func(own, _ toolscache.ResourceEventHandler) { own.OnAdd(marked, false) },
			func(_, others toolscache.ResourceEventHandler) { others.OnAdd(stripped, false) },
			func(_, others toolscache.ResourceEventHandler) { others.OnDelete(stripped) },
		}, false},
		"stripped, mended, stripped": {[]step{
			func(_, others toolscache.ResourceEventHandler) { others.OnAdd(stripped, false) },
			func(_, others toolscache.ResourceEventHandler) { others.OnDelete(stripped) },
			func(_, others toolscache.ResourceEventHandler) { others.OnAdd(stripped, false) },
			func(own, _ toolscache.ResourceEventHandler) { own.OnDelete(marked) },
			func(own, _ toolscache.ResourceEventHandler) { own.OnAdd(marked, false) },
			func(own, _ toolscache.ResourceEventHandler) { own.OnDelete(marked) },
		}, true},
		"stripped and deleted": {[]step{
			func(_, others toolscache.ResourceEventHandler) { others.OnAdd(stripped, false) },
			func(_, others toolscache.ResourceEventHandler) {
				others.OnDelete(toolscache.DeletedFinalStateUnknown{Obj: stripped})
			},
		}, false},
		"by other hands": {[]step{func(_, others toolscache.ResourceEventHandler) {
			others.OnAdd(&rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: "place", Name: "scim-readers"}}, false)
		}}, false},
	} {
		s := newUnlabelled()
		own, others := s.follow(s.labelled, isMarked), s.follow(s.others, nil)
		for _, step := range test.steps {
			step(own, others)
		}
		if _, got := s.all()[overlay.IDOf(marked)]; got != test.want || len(s.all()) > 1 {
			t.Errorf("%s: %v", title, s.all())
		}
	}
}

func TestUnlabelledAreBounded(t *testing.T) {
	s := newUnlabelled()
	others := s.follow(s.others, nil)
	for i := range 2 * maxUnlabelled {
		binding := &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "scim-" + hash(20, fmt.Sprint(i))}}
		others.OnAdd(client.Object(binding), false)
	}
	if found := len(s.all()); found != maxUnlabelled {
		t.Errorf("%d unlabelledBindings", found)
	}
}

func newUnlabelled() *unlabelledBindings {
	return &unlabelledBindings{labelled: map[overlay.ID]rbacv1.RoleRef{}, others: map[overlay.ID]rbacv1.RoleRef{}, log: logr.Discard()}
}
