package app

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// An App without a URL of its own says that clients may choose what begins the locations in answers, and how to fix it.
func TestExternalURLIsTold(t *testing.T) {
	app := &v1alpha1.App{ObjectMeta: metav1.ObjectMeta{Generation: 3}}
	for _, test := range []struct {
		url    string
		status metav1.ConditionStatus
		words  []string
	}{
		{"", metav1.ConditionFalse, []string{"--external-url", "Host header", "spec.externalURL"}},
		{"https://scim.example.com", metav1.ConditionTrue, []string{"spec.externalURL"}},
		{"", metav1.ConditionFalse, []string{"Host header"}},
	} {
		app.Spec.ExternalURL = test.url
		setExternalURL(app)
		condition := meta.FindStatusCondition(app.Status.Conditions, v1alpha1.ConditionExternalURLSet)
		if condition == nil || condition.Status != test.status || condition.ObservedGeneration != app.Generation {
			t.Fatalf("with the URL %q: %+v", test.url, condition)
		}
		for _, word := range test.words {
			if !strings.Contains(condition.Message, word) {
				t.Errorf("with the URL %q the message lacks %q: %s", test.url, word, condition.Message)
			}
		}
	}
}
