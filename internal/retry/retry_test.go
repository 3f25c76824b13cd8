package retry

import (
	"context"
	"errors"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
)

func TestWhile(t *testing.T) {
	backoff := wait.Backoff{Duration: time.Millisecond, Factor: 1, Steps: 4}
	again, other := errors.New("again"), errors.New("other")
	isAgain := func(err error) bool { return errors.Is(err, again) }
	for name, test := range map[string]struct {
		errs  []error
		calls int
		want  error
	}{
		"at once":          {[]error{nil}, 1, nil},
		"the third time":   {[]error{again, again, nil}, 3, nil},
		"another error":    {[]error{again, other}, 2, other},
		"again and always": {[]error{again, again, again, again}, 4, again},
	} {
		calls := 0
		err := While(t.Context(), backoff, isAgain, func(context.Context) error { calls++; return test.errs[calls-1] })
		if calls != test.calls || !errors.Is(err, test.want) {
			t.Errorf("%s: %d calls, %v", name, calls, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := While(ctx, backoff, isAgain, func(context.Context) error { return again }); !errors.Is(err, context.Canceled) {
		t.Errorf("after its end: %v", err)
	}
}
