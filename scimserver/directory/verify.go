package directory

import (
	"context"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
)

const (
	// verifyAfter gives the request that makes a user the time to claim its name, and the controller to say so in the
	// status: then this process need not ask.
	verifyAfter = 500 * time.Millisecond
	// verifyAttempts bounds how often a claim is asked for that does not name the object. The next event asks again.
	verifyAttempts = 6

	userVerifyWorkers  = 4
	groupVerifyWorkers = 1
)

func newVerifyQueue() workqueue.TypedRateLimitingInterface[types.NamespacedName] {
	return workqueue.NewTypedRateLimitingQueue(
		workqueue.NewTypedItemExponentialFailureRateLimiter[types.NamespacedName](verifyAfter, 30*time.Second))
}

// onEvent takes in what a watch shows.
func (c *collection[O, E]) onEvent(e E) {
	if !c.put(e, "") {
		return
	}
	name, after := e.head().name(), verifyAfter
	var nothing E
	if current := c.model.get(name); current != nothing && current.head().provisional {
		after = 0 // its claim is older than what the watch shows
	}
	c.unverified.AddAfter(name, after)
}

// verifyAll verifies the claims of new objects until ctx ends.
func (c *collection[O, E]) verifyAll(ctx context.Context, workers int) {
	var running sync.WaitGroup
	for range workers {
		running.Go(func() {
			for c.verifyNext(ctx) {
			}
		})
	}
	<-ctx.Done()
	c.unverified.ShutDown()
	running.Wait()
}

func (c *collection[O, E]) verifyNext(ctx context.Context) bool {
	name, shutdown := c.unverified.Get()
	if shutdown {
		return false
	}
	defer c.unverified.Done(name)
	var nothing E
	e := c.model.get(name)
	if e == nothing || !e.head().needsVerification() {
		c.unverified.Forget(name)
		return true
	}
	header := e.head()
	named, err := c.claimsIn(name.Namespace).Verify(ctx, header.app.Value().Name, header.key, name.Name, header.resourceVersion)
	switch {
	case named:
		c.model.verify(name, header.key)
		c.unverified.Forget(name)
	case err == nil && header.provisional:
		c.model.distrust(name, header.key)
		c.unverified.AddRateLimited(name)
	case err == nil && c.unverified.NumRequeues(name) >= verifyAttempts:
		c.unverified.Forget(name)
	default:
		if err != nil {
			logr.FromContextOrDiscard(ctx).V(1).Info("Could not read a claim", c.claims.Attribute, name, "error", err.Error())
		}
		c.unverified.AddRateLimited(name)
	}
	return true
}
