package informers

import (
	"fmt"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	toolscache "k8s.io/client-go/tools/cache"
)

func node(name string) *corev1.Node { return &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}} }

// everything sends a handler each kind of event, those of objects that are none of its own, too.
func everything(handler toolscache.ResourceEventHandler) {
	handler.OnAdd(node("a"), true)
	handler.OnUpdate(node("a"), node("b"))
	handler.OnDelete(node("b"))
	handler.OnDelete(toolscache.DeletedFinalStateUnknown{Key: "c", Obj: node("c")})
	handler.OnDelete(toolscache.DeletedFinalStateUnknown{Key: "d"})
	handler.OnAdd(&corev1.Pod{}, false)
	handler.OnUpdate(&corev1.Pod{}, &corev1.Pod{})
	handler.OnDelete(nil)
}

func TestStates(t *testing.T) {
	var told []string
	everything(States(
		func(n *corev1.Node) { told = append(told, "put "+n.Name) },
		func(n *corev1.Node) { told = append(told, "remove "+n.Name) },
	))
	if want := []string{"put a", "put b", "remove b", "remove c"}; !slices.Equal(told, want) {
		t.Errorf("told %q, want %q", told, want)
	}
}

func TestChanges(t *testing.T) {
	var told []string
	nameOf := func(n *corev1.Node) string {
		if n == nil {
			return "none"
		}
		return n.Name
	}
	everything(Changes(func(before, after *corev1.Node) {
		told = append(told, fmt.Sprint(nameOf(before), " to ", nameOf(after)))
	}))
	if want := []string{"none to a", "a to b", "b to none", "c to none"}; !slices.Equal(told, want) {
		t.Errorf("told %q, want %q", told, want)
	}
}

// A handler of an interface is told of whatever has it.
func TestHandlersOfInterfaces(t *testing.T) {
	var told []string
	everything(Changes(func(before, after metav1.Object) {
		told = append(told, fmt.Sprint(before == nil, after == nil))
	}))
	if want := []string{"true false", "false false", "false true", "false true", "true false", "false false"}; !slices.Equal(told, want) {
		t.Errorf("told %q, want %q", told, want)
	}
}

func TestOlder(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{{"9", "10", true}, {"10", "9", false}, {"9", "9", false}, {"", "9", false}, {"x", "9", false}, {"9", "", false}} {
		if got := Older(c.a, c.b); got != c.want {
			t.Errorf("%q older than %q: %v", c.a, c.b, got)
		}
	}
}
