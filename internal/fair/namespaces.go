package fair

import (
	"math"

	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// ByNamespace makes the queue of a controller with so many workers, in which namespaces take turns: one with thousands of objects that
// all changed delays an object of another by as many as there are workers. It is for work without removals; see Queue for the rest.
func ByNamespace(workers int) func(string, workqueue.TypedRateLimiter[reconcile.Request]) workqueue.TypedRateLimitingInterface[reconcile.Request] {
	return func(_ string, limiter workqueue.TypedRateLimiter[reconcile.Request]) workqueue.TypedRateLimitingInterface[reconcile.Request] {
		return NewQueue(Options[reconcile.Request]{
			Lane:    func(request reconcile.Request) Lane { return Lane{Namespace: request.Namespace} },
			Workers: workers, Others: workers, Removal: math.MaxInt, RateLimiter: limiter,
		})
	}
}
