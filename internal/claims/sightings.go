package claims

import (
	"context"
	"sync"
	"time"

	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// Sightings are the claims that a watch has shown in the last minute. They spare a live read for each user of an import. The
// event of a claim tells which holder it named at one moment, as a read at that moment would. So it decides where that moment is
// later than the state of the holder that asks: resourceVersions tell, which all custom resources of a cluster draw from one
// counter. It decides nothing else: of a claim that is older than its holder (a backup may put claims back first), that was
// not seen, or that names another holder, a live read has the last word.
//
// A nil value has seen nothing. Use NewSightings. Safe for concurrent use.
type Sightings struct {
	live client.WithWatch
	log  logr.Logger

	mutex          sync.Mutex
	recent, former map[types.NamespacedName]sighting
	turned         time.Time
	// wanted is how many watches there are to be, and following how many there are.
	wanted, following int
}

// sighting is what an event showed of a claim.
type sighting struct{ holder, version string }

const (
	// sightingsKept is how long an event is remembered at least, twice that at most: the claim of a user follows within a request.
	sightingsKept = 30 * time.Second
	// maxSightings bounds each half of the memory: what is forgotten costs a live read.
	maxSightings = 10000
	// sightingsRetry is the time between attempts to watch.
	sightingsRetry = 5 * time.Second
)

// NewSightings returns what has seen nothing yet. The client must not read from a cache.
func NewSightings(live client.WithWatch, log logr.Logger) *Sightings {
	return &Sightings{live: live, log: log}
}

// Names says whether an event has shown, later than the state of the holder that is given, that the claim of a key names the
// holder. False says nothing.
func (s *Sightings) Names(app, attribute, key string, holder client.Object) bool {
	if s == nil {
		return false
	}
	s.mutex.Lock()
	defer s.mutex.Unlock()
	claim := types.NamespacedName{Namespace: holder.GetNamespace(), Name: Name(app, attribute, key)}
	seen, found := s.recent[claim]
	if !found {
		seen, found = s.former[claim]
	}
	if !found || seen.holder != holder.GetName() {
		return false
	}
	return isLater(seen.version, holder.GetResourceVersion())
}

// Following says whether every watch is there: then a claim shows itself.
func (s *Sightings) Following() bool {
	if s == nil {
		return false
	}
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return s.wanted > 0 && s.following == s.wanted
}

// Follow watches the claims of the namespaces, of all where none is named, from now on until ctx ends. seen is told of each holder
// that a claim names, gone of each claim that was deleted, by this operator or others. A watch that fails begins anew after a moment; live
// reads do in the meantime.
func (s *Sightings) Follow(ctx context.Context, namespaces []string, seen func(holder types.NamespacedName), gone func(*v1alpha1.NameClaim)) {
	if len(namespaces) == 0 {
		namespaces = []string{metav1.NamespaceAll}
	}
	s.count(len(namespaces), 0)
	defer s.count(-len(namespaces), 0)
	var running sync.WaitGroup
	for _, namespace := range namespaces {
		running.Go(func() {
			wait.JitterUntilWithContext(ctx, func(ctx context.Context) {
				if err := s.follow(ctx, namespace, seen, gone); err != nil && ctx.Err() == nil {
					s.log.V(1).Info("Could not watch claims, which are read one by one until then", "namespace", namespace, "error", err.Error())
				}
			}, sightingsRetry, 0.2, true)
		})
	}
	running.Wait()
}

// follow watches from the present on, until a watch fails.
func (s *Sightings) follow(ctx context.Context, namespace string, seen func(types.NamespacedName), gone func(*v1alpha1.NameClaim)) error {
	var list v1alpha1.NameClaimList
	if err := s.live.List(ctx, &list, client.InNamespace(namespace), client.Limit(1)); err != nil {
		return err
	}
	s.count(0, 1)
	defer s.forget(namespace)
	defer s.count(0, -1)
	for version := list.ResourceVersion; ; {
		next, err := s.followFrom(ctx, namespace, version, seen, gone)
		if err != nil || ctx.Err() != nil {
			return err
		}
		if next == version { // ended at once: not again at once
			return apierrors.NewTimeoutError("the watch showed nothing", 0)
		}
		version = next
	}
}

// followFrom watches from a version on. It returns the version to go on from where the API server ends the watch, as it does now
// and then.
func (s *Sightings) followFrom(ctx context.Context, namespace, version string, seen func(types.NamespacedName), gone func(*v1alpha1.NameClaim)) (string, error) {
	events, err := s.live.Watch(ctx, &v1alpha1.NameClaimList{}, &client.ListOptions{
		Namespace: namespace, Raw: &metav1.ListOptions{ResourceVersion: version, AllowWatchBookmarks: true},
	})
	if err != nil {
		return version, err
	}
	defer events.Stop()
	for event := range events.ResultChan() {
		claim, ok := event.Object.(*v1alpha1.NameClaim)
		if !ok {
			return version, apierrors.FromObject(event.Object)
		}
		version = claim.ResourceVersion
		switch event.Type {
		case watch.Added, watch.Modified:
			s.saw(claim)
			seen(types.NamespacedName{Namespace: claim.Namespace, Name: claim.Spec.Holder})
		case watch.Deleted:
			s.lost(claim)
			gone(claim)
		case watch.Bookmark, watch.Error: // a version only; an error is no claim
		}
	}
	return version, nil
}

func (s *Sightings) saw(claim *v1alpha1.NameClaim) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if now := time.Now(); s.recent == nil || now.Sub(s.turned) > sightingsKept || len(s.recent) >= maxSightings {
		s.recent, s.former, s.turned = map[types.NamespacedName]sighting{}, s.recent, now
	}
	name := client.ObjectKeyFromObject(claim)
	delete(s.former, name)
	s.recent[name] = sighting{holder: claim.Spec.Holder, version: claim.ResourceVersion}
}

func (s *Sightings) lost(claim *v1alpha1.NameClaim) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	name := client.ObjectKeyFromObject(claim)
	delete(s.recent, name)
	delete(s.former, name)
}

// forget drops what was seen of a namespace where a gap follows: a claim may have another holder after it.
func (s *Sightings) forget(namespace string) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	for _, half := range []map[types.NamespacedName]sighting{s.recent, s.former} {
		for name := range half {
			if namespace == metav1.NamespaceAll || name.Namespace == namespace {
				delete(half, name)
			}
		}
	}
}

func (s *Sightings) count(wanted, following int) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.wanted += wanted
	s.following += following
}
