package app

import (
	"testing"
	"testing/synctest"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// After a burst the status of an App is written once a second, whatever happens to it, and another App's at once.
func TestWriteRates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w writeRates
		busy := &v1alpha1.App{ObjectMeta: metav1.ObjectMeta{Name: "busy"}}
		written, begun := 0, time.Now()
		for time.Since(begun) < 10*time.Second {
			if wait := w.wait(busy); wait > 0 {
				time.Sleep(wait)
			}
			w.spend(busy)
			written++
		}
		if written < statusBurst+9 || written > statusBurst+11 {
			t.Errorf("written %d times in ten seconds", written)
		}
		if wait := w.wait(busy); wait <= 0 || wait > time.Second {
			t.Errorf("the next write waits %s", wait)
		}
		if wait := w.wait(&v1alpha1.App{ObjectMeta: metav1.ObjectMeta{Name: "other"}}); wait != 0 {
			t.Errorf("another App waits %s", wait)
		}
		now := metav1.Now()
		if wait := w.wait(&v1alpha1.App{ObjectMeta: metav1.ObjectMeta{Name: "busy", DeletionTimestamp: &now}}); wait != 0 {
			t.Errorf("a deletion waits %s", wait)
		}
		w.forget(types.NamespacedName{Name: "busy"})
		w.forget(types.NamespacedName{Name: "other"})
		if len(w.apps) != 0 {
			t.Errorf("%d Apps are remembered", len(w.apps))
		}
	})
}
