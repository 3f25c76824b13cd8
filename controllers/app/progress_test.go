package app

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/types"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

func TestEvaluationOf(t *testing.T) {
	through := &v1alpha1.Evaluation{Generation: 3, Users: 10, Done: 10}
	for name, test := range map[string]struct {
		before      *v1alpha1.Evaluation
		users, done int32
		want        v1alpha1.Evaluation
	}{
		"first":                         {nil, 10, 4, v1alpha1.Evaluation{Generation: 3, Users: 10, Done: 4, LastError: "x"}},
		"another generation":            {&v1alpha1.Evaluation{Generation: 2, Users: 5, Done: 5}, 10, 0, v1alpha1.Evaluation{Generation: 3, Users: 10, LastError: "x"}},
		"through, and so no error":      {&v1alpha1.Evaluation{Generation: 3, Users: 10, Done: 9, LastError: "x"}, 10, 10, *through},
		"a restart does not undo it":    {through, 12, 1, v1alpha1.Evaluation{Generation: 3, Users: 12, Done: 12}},
		"users came after the App":      {&v1alpha1.Evaluation{Generation: 3}, 16, 3, v1alpha1.Evaluation{Generation: 3, Users: 16, Done: 16}},
		"somebody left in the meantime": {nil, 10, 11, *through},
		"nobody":                        {nil, 0, 0, v1alpha1.Evaluation{Generation: 3}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := evaluationOf(test.before, 3, test.users, test.done, "x"); *got != test.want {
				t.Errorf("evaluation %+v, want %+v", *got, test.want)
			}
		})
	}
}

func TestLastErrorIsBounded(t *testing.T) {
	var p Progress
	app := types.NamespacedName{Name: "demo"}
	p.Failed(app, "one\n"+strings.Repeat("é", 2000))
	if text := []rune(p.lastError(app)); len(text) != maxLastError || strings.Contains(string(text), "\n") {
		t.Errorf("%d characters", len(text))
	}
	p.forget(app)
	if p.lastError(app) != "" {
		t.Error("the error is kept")
	}
}
