package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"runtime/debug"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// initialEventsEnd marks, in a watch, the event after those that stand for a list.
var initialEventsEnd = []byte(`"k8s.io/initial-events-end":"true"`)

// measureStartFloor tells how much of a controller's start any program would need to have all Users: first as bytes, which is the
// API server's part, and then as objects in an informer that does nothing else.
func (s *suite) measureStartFloor(ctx context.Context, e *environment, users int) error {
	config := rest.CopyConfig(e.config)
	config.Timeout, config.DisableCompression = 0, true
	for _, floor := range []struct {
		title string
		read  func(context.Context, *environment, *rest.Config) (int, error)
	}{
		{"all Users as a stream of bytes, bare", streamUsers},
		{"all Users in an informer, bare", informUsers},
	} {
		s.progress.say("reading %d users: %s", users, floor.title)
		begun := time.Now()
		read, err := floor.read(ctx, e, config)
		if err != nil {
			return fmt.Errorf("%s: %w", floor.title, err)
		}
		if read != users {
			return fmt.Errorf("%s: %d of %d users", floor.title, read, users)
		}
		s.report.add(figure{name: benchmarkControllerMemory, title: floor.title, n: users, value: inMilliseconds(time.Since(begun)), unit: milliseconds})
		debug.FreeOSMemory() // what follows has the processors to itself
	}
	return nil
}

// streamUsers reads the watch that an informer begins with, up to the end of what stands for a list, and counts the Users.
func streamUsers(ctx context.Context, _ *environment, config *rest.Config) (users int, err error) {
	clientset, err := kubernetes.NewForConfig(config)
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := clientset.CoreV1().RESTClient().Get().AbsPath("/apis", v1alpha1.GroupVersion.Group, v1alpha1.GroupVersion.Version, "users").
		Param("watch", "true").Param("sendInitialEvents", "true").Param("allowWatchBookmarks", "true").
		Param("resourceVersionMatch", "NotOlderThan").Stream(ctx)
	if err != nil {
		return 0, err
	}
	defer func() { _ = stream.Close() }() // nothing was written
	for events := bufio.NewReaderSize(stream, 1<<20); ; users++ {
		event, err := events.ReadSlice('\n')
		if err != nil {
			return users, err
		}
		if bytes.Contains(event, initialEventsEnd) {
			return users, nil
		}
	}
}

// informUsers returns when an informer has all Users.
func informUsers(ctx context.Context, e *environment, config *rest.Config) (users int, err error) {
	ctx, cancel := context.WithCancel(ctx)
	informers, err := cache.New(config, cache.Options{Scheme: e.scheme, DefaultTransform: cache.TransformStripManagedFields()})
	if err != nil {
		cancel()
		return 0, err
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = informers.Start(ctx) // it fails only where the informer below does not fill either
	}()
	defer func() {
		cancel()
		<-ended
	}()
	if _, err := informers.GetInformer(ctx, &v1alpha1.User{}); err != nil {
		return 0, err
	}
	if !informers.WaitForCacheSync(ctx) {
		return 0, ctx.Err()
	}
	var list v1alpha1.UserList
	if err := informers.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
		return 0, err
	}
	return len(list.Items), nil
}
