package issuers

import (
	"context"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// Outcome is what the last read of an issuer's keys met.
type Outcome struct {
	// Err is why the keys could not be read, in words for people; nil: they were.
	Err error
	// Keys counts those that can be used.
	Keys int
	At   time.Time
}

// asked is what decides which keys are an issuer's.
type asked struct{ issuer, authority string }

func askedOf(spec *v1alpha1.ForeignIssuer) asked {
	return asked{issuer: spec.Issuer, authority: spec.CertificateAuthority}
}

// entry is one App's issuer.
type entry struct {
	asked  asked
	source *source
}

// Set has the issuers of all Apps. Safe for concurrent use.
type Set struct {
	life     context.Context
	networks Networks
	timing   timing
	now      func() time.Time
	ended    func(app types.NamespacedName, err error)

	mu      sync.Mutex
	entries map[types.NamespacedName]entry
}

// New returns a Set without issuers. What it does in the background ends with life. ended is called after each read of an App's issuer,
// with nil where keys were read; it must not block.
func New(life context.Context, networks Networks, ended func(app types.NamespacedName, err error)) *Set {
	return &Set{life: life, networks: networks, timing: defaultTiming, now: time.Now, ended: ended, entries: map[types.NamespacedName]entry{}}
}

// Replace takes an App in place of another, as a watch tells of them; either may be nil. From then on its issuer's keys are read.
func (s *Set) Replace(before, after *v1alpha1.App) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if after == nil {
		s.drop(nameOf(before))
		return
	}
	name, spec := nameOf(after), after.Spec.OIDC
	if spec == nil || spec.Suspended {
		s.drop(name)
		return
	}
	if held, found := s.entries[name]; found && held.asked == askedOf(spec) {
		return
	}
	s.drop(name)
	s.entries[name] = entry{askedOf(spec), s.newSource(name, askedOf(spec))}
}

func (s *Set) drop(name types.NamespacedName) {
	if held, found := s.entries[name]; found {
		held.source.end()
		delete(s.entries, name)
	}
}

func nameOf(app *v1alpha1.App) types.NamespacedName {
	return types.NamespacedName{Namespace: app.Namespace, Name: app.Name}
}

// sourceOf returns the keys of the issuer that an App names; nil where the watch has not told of it yet.
func (s *Set) sourceOf(app *v1alpha1.App) *source {
	s.mu.Lock()
	defer s.mu.Unlock()
	held, found := s.entries[nameOf(app)]
	if !found || held.asked != askedOf(app.Spec.OIDC) {
		return nil
	}
	return held.source
}

// Apps lists the Apps with an issuer.
func (s *Set) Apps() []types.NamespacedName {
	s.mu.Lock()
	defer s.mu.Unlock()
	names := make([]types.NamespacedName, 0, len(s.entries))
	for name := range s.entries {
		names = append(names, name)
	}
	return names
}

// Outcome returns what the last read of the keys of an App's issuer met. There is none before the first one ended, and for an App as it
// is not any more.
func (s *Set) Outcome(app *v1alpha1.App) (Outcome, bool) {
	if app.Spec.OIDC == nil {
		return Outcome{}, false
	}
	from := s.sourceOf(app)
	if from == nil {
		return Outcome{}, false
	}
	return from.outcome()
}
