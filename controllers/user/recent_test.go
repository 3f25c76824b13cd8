package user

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// An evaluation that begins before the event of an earlier write has come may have read a state from before that write: the
// event must not pass for old news then.
func TestOwnWriteIsNoNewsOnce(t *testing.T) {
	name := types.NamespacedName{Namespace: "ns", Name: "jane"}
	at := func(version string) *v1alpha1.User {
		return &v1alpha1.User{ObjectMeta: metav1.ObjectMeta{Namespace: name.Namespace, Name: name.Name, ResourceVersion: version}}
	}
	for text, test := range map[string]struct {
		steps func(*recent)
		own   bool
	}{
		"written and shown":               {func(r *recent) { r.wrote(name, at("10")) }, true},
		"evaluated again in between":      {func(r *recent) { r.wrote(name, at("10")); r.reconsider(name) }, false},
		"another state was shown before":  {func(r *recent) { r.wrote(name, at("10")); r.isOwn(name, at("9")) }, false},
		"shown twice":                     {func(r *recent) { r.wrote(name, at("10")); r.isOwn(name, at("10")) }, false},
		"written after the reconsidering": {func(r *recent) { r.wrote(name, at("9")); r.reconsider(name); r.wrote(name, at("10")) }, true},
	} {
		t.Run(text, func(t *testing.T) {
			var r recent
			test.steps(&r)
			if own := r.isOwn(name, at("10")); own != test.own {
				t.Errorf("isOwn = %v, want %v", own, test.own)
			}
		})
	}
}
