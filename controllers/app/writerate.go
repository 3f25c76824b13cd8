package app

import (
	"sync"
	"time"

	"golang.org/x/time/rate"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

const (
	// statusBurst is how many writes of its status an App has at once, and statusesPerSecond how many go on. Each decodes, compares and
	// records the whole object in the API server, which for an App of many scopes costs as much as dozens of small ones.
	statusBurst       = 5
	statusesPerSecond = 1
)

// writeRates bounds how often the status of each App is written. The zero value is ready to use, by any number of goroutines.
type writeRates struct {
	mutex sync.Mutex
	apps  map[types.NamespacedName]*rate.Limiter
}

// wait is how long the App waits until its status may be written; 0 for not at all. An App that is being deleted, or has the status of
// another object, never waits.
func (w *writeRates) wait(app *v1alpha1.App) time.Duration {
	if !app.DeletionTimestamp.IsZero() || app.HasForeignStatus() {
		return 0
	}
	missing := 1 - w.of(client.ObjectKeyFromObject(app)).Tokens()
	if missing <= 0 {
		return 0
	}
	return time.Duration(missing / statusesPerSecond * float64(time.Second))
}

// spend counts a write.
func (w *writeRates) spend(app *v1alpha1.App) {
	w.of(client.ObjectKeyFromObject(app)).Allow()
}

func (w *writeRates) of(app types.NamespacedName) *rate.Limiter {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	if w.apps == nil {
		w.apps = map[types.NamespacedName]*rate.Limiter{}
	}
	limiter := w.apps[app]
	if limiter == nil {
		limiter = rate.NewLimiter(statusesPerSecond, statusBurst)
		w.apps[app] = limiter
	}
	return limiter
}

func (w *writeRates) forget(app types.NamespacedName) {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	delete(w.apps, app)
}
