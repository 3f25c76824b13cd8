package informers

import (
	"context"
	"net/http"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// refusing is a list that is answered with an error, or with nothing.
type refusing struct {
	err   error
	asked int
}

func (r *refusing) ListWithContext(context.Context, metav1.ListOptions) (runtime.Object, error) {
	r.asked++
	return &metav1.List{}, r.err
}

func TestLagsAreNoAbsence(t *testing.T) {
	tooLarge := apierrors.NewTimeoutError("Too large resource version: 310, current: 303", 1)
	tooLarge.ErrStatus.Details.Causes = []metav1.StatusCause{{Type: metav1.CauseTypeResourceVersionTooLarge}}
	initializing := apierrors.NewTooManyRequests("storage is (re)initializing", 1)
	corrupt := apierrors.NewGenericServerResponse(http.StatusInternalServerError, "list", schema.GroupResource{Resource: "users"}, "", "corrupt object, Key: /registry/users/a", 0, true)
	for name, test := range map[string]struct {
		err, list error
		away      bool
		says      string
	}{
		"an old copy":                         {tooLarge, nil, false, "not current: Timeout: Too large resource version"},
		"no copy yet":                         {initializing, nil, false, "not current: storage is (re)initializing"},
		"an object that cannot be read":       {tooLarge, corrupt, false, "Key: /registry/users/a"},
		"a list that is not answered either":  {initializing, context.DeadlineExceeded, false, "(re)initializing"},
		"a list that meets the same":          {tooLarge, initializing, false, "Too large resource version"},
		"an API server without time":          {apierrors.NewTooManyRequests("later", 1), corrupt, true, "later"},
		"an API server that answers too late": {apierrors.NewTimeoutError("later", 1), corrupt, true, "later"},
		"a refusal":                           {corrupt, nil, false, "Key: /registry/users/a"},
	} {
		var l lag
		from := &refusing{err: test.list}
		err := l.explain(t.Context(), from, test.err)
		if Away(err) != test.away || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: away %v: %v", name, Away(err), err)
		}
		again := l.explain(t.Context(), from, test.err)
		if want := map[bool]int{true: 1, false: 0}[lags(test.err)]; again.Error() != err.Error() || from.asked != want {
			t.Errorf("%s: %d lists, then %v", name, from.asked, again)
		}
	}
	if err := (&lag{}).explain(t.Context(), nil, nil); err != nil {
		t.Errorf("a success is %v", err)
	}
}
