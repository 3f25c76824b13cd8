package fair

import (
	"fmt"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// One object of a namespace waits for as many of another's as there are workers, however many those are, and each comes.
func TestNamespacesTakeTurns(t *testing.T) {
	for _, workers := range []int{1, 2, 4} {
		t.Run(fmt.Sprint(workers), func(t *testing.T) {
			q := ByNamespace(workers)("", workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](time.Millisecond, time.Second))
			defer q.ShutDown()
			of := func(namespace string, i int) reconcile.Request {
				return reconcile.Request{NamespacedName: types.NamespacedName{Namespace: namespace, Name: fmt.Sprint(i)}}
			}
			const many = 1000
			for i := range many {
				q.Add(of("many", i))
			}
			q.Add(of("one", 0))
			before, seen := 0, map[reconcile.Request]bool{}
			for range many + 1 {
				next, _ := q.Get()
				if next.Namespace == "one" && before > workers {
					t.Errorf("%d objects of the other namespace came before", before)
				}
				before++
				seen[next] = true
				q.Done(next)
			}
			if len(seen) != many+1 {
				t.Errorf("%d objects came, of %d", len(seen), many+1)
			}
		})
	}
}
