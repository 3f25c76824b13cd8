package issuers

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"k8s.io/apimachinery/pkg/types"
)

// timing is how often an issuer is asked.
type timing struct {
	// every is how often keys are read again while all is well: an issuer's key that was withdrawn is refused after that.
	every time.Duration
	// rest is the least time between the begins of two reads that tokens cause.
	rest time.Duration
	// retry and maxRetry are the first and the longest time between two failed reads.
	retry, maxRetry time.Duration
	// stale is how long keys are used that could not be read again.
	stale time.Duration
}

var defaultTiming = timing{every: 10 * time.Minute, rest: 10 * time.Second, retry: time.Second, maxRetry: time.Minute, stale: 24 * time.Hour}

const (
	// maxWaiting bounds the requests of one App that wait for a read.
	maxWaiting = 32
	// maxTried bounds the keys that one signature is tried with.
	maxTried = 4
)

// source has the keys of one App's issuer. Safe for concurrent use.
type source struct {
	reader *reader
	// broken is why there is no reader.
	broken error
	// ended is told of each read that ended.
	ended  func(error)
	timing timing
	now    func() time.Time
	// life ends with the source.
	life context.Context
	end  context.CancelFunc

	mu      sync.Mutex
	keys    []key
	readAt  time.Time
	last    *attempt
	waiting int
}

// attempt is one read. ended, err and keys are set before done is closed.
type attempt struct {
	begun time.Time
	done  chan struct{}

	ended time.Time
	err   error
	keys  int
}

func (a *attempt) hasEnded() bool {
	select {
	case <-a.done:
		return true
	default:
		return false
	}
}

func (s *Set) newSource(name types.NamespacedName, asked asked) *source {
	from := &source{timing: s.timing, now: s.now, ended: func(err error) { s.ended(name, err) }}
	from.life, from.end = context.WithCancel(s.life)
	if from.reader, from.broken = newReader(asked.issuer, asked.authority, s.networks); from.broken == nil {
		go from.run()
	}
	return from
}

// run reads the keys, and again, until the source's life ends.
func (s *source) run() {
	retry := s.timing.retry
	for {
		a := s.begin()
		select {
		case <-s.life.Done():
			return
		case <-a.done:
		}
		pause := s.timing.every
		if a.err != nil {
			pause, retry = retry, min(2*retry, s.timing.maxRetry)
		} else {
			retry = s.timing.retry
		}
		timer := time.NewTimer(pause - time.Duration(rand.Int64N(int64(pause)/5+1))) //nolint:gosec // replicas need only not to ask at once
		select {
		case <-s.life.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}

// begin returns the read that is under way, or a new one.
func (s *source) begin() *attempt {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.beginLocked()
}

func (s *source) beginLocked() *attempt {
	if s.last != nil && !s.last.hasEnded() {
		return s.last
	}
	a := &attempt{begun: s.now(), done: make(chan struct{})}
	s.last = a
	go func() {
		keys, err := s.reader.read(s.life)
		if s.life.Err() == nil {
			s.ended(err)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		a.ended, a.err, a.keys = s.now(), err, len(keys)
		if err == nil {
			s.keys, s.readAt = keys, a.begun
		}
		close(a.done)
	}()
	return a
}

// outcome returns the read that ended last, if there is one.
func (s *source) outcome() (Outcome, bool) {
	if s.broken != nil {
		return Outcome{Err: s.broken, At: s.now()}, true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last == nil || !s.last.hasEnded() {
		return Outcome{}, false
	}
	return Outcome{Err: s.last.err, Keys: s.last.keys, At: s.last.ended}, true
}

// usable returns the keys, unless there are none or they are stale.
func (s *source) usable() []key {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.now().Sub(s.readAt) > s.timing.stale {
		return nil
	}
	return s.keys
}

// verify returns the payload of a token that a key of the issuer signed. What no key fits has the keys read again, but for tokens that
// come soon after another read: they are to come again, so that a new key of the issuer opens no gap, and a flood of unknown ones asks
// the issuer no more often. Errors are *RefusedError and *UnavailableError.
func (s *source) verify(ctx context.Context, token *jose.JSONWebSignature) ([]byte, error) {
	arrived := s.now()
	if s.usable() == nil {
		if _, err := s.readNow(ctx); err != nil {
			return nil, err
		}
	}
	payload, known := tried(s.usable(), token)
	if payload != nil {
		return payload, nil
	}
	read, err := s.readNow(ctx)
	switch {
	case err == nil:
		if payload, known = tried(s.usable(), token); payload != nil {
			return payload, nil
		}
		if !known && read.begun.Before(arrived) {
			return nil, &UnavailableError{Detail: "The issuer's keys were read before this token came and lack its key. Try again", RetryAfter: s.timing.rest}
		}
	case !known:
		return nil, err
	}
	return nil, refused("the token is signed by no key that its issuer publishes")
}

// tried returns the payload if one of the keys signed the token, and whether one has the token's key ID, or, where it has none, fits its
// algorithm.
func tried(keys []key, token *jose.JSONWebSignature) (payload []byte, known bool) {
	header, count := token.Signatures[0].Header, 0
	for i := range keys {
		if header.KeyID != "" && keys[i].KeyID != header.KeyID {
			continue
		}
		known = known || header.KeyID != ""
		if !slices.Contains(keys[i].algorithms, jose.SignatureAlgorithm(header.Algorithm)) {
			continue
		}
		if count++; count > maxTried {
			break
		}
		if payload, err := token.Verify(keys[i].Key); err == nil {
			return payload, true
		}
	}
	return nil, known || count > 0
}

// readNow waits for a read that succeeded: the one that is under way, or a new one, if the last began long enough ago.
func (s *source) readNow(ctx context.Context) (*attempt, error) {
	if s.broken != nil {
		return nil, &UnavailableError{Detail: "The App's issuer cannot be asked for its keys: " + s.broken.Error(), RetryAfter: s.timing.maxRetry}
	}
	a, err := s.join()
	if err != nil {
		return nil, err
	}
	defer s.leave()
	select {
	case <-ctx.Done():
		return nil, &UnavailableError{Detail: "The keys of the App's issuer were not read in time", RetryAfter: s.timing.rest}
	case <-a.done:
	}
	if a.err != nil {
		return nil, notRead(a.err, s.timing.rest)
	}
	return a, nil
}

func notRead(cause error, retryAfter time.Duration) error {
	return &UnavailableError{Detail: "The keys of the App's issuer cannot be read: " + cause.Error(), RetryAfter: retryAfter}
}

// join returns a read to wait for; leave must be called after it. It fails where none may begin yet, or too many wait.
func (s *source) join() (*attempt, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.waiting >= maxWaiting {
		return nil, &UnavailableError{Detail: "Many requests wait for the keys of the App's issuer", RetryAfter: s.timing.rest}
	}
	if s.last != nil && s.last.hasEnded() {
		if wait := s.timing.rest - s.now().Sub(s.last.begun); wait > 0 {
			if s.last.err != nil {
				return nil, notRead(s.last.err, wait)
			}
			return nil, &UnavailableError{Detail: "The token is signed by a key that the issuer did not publish a moment ago. Its keys are read again soon", RetryAfter: wait}
		}
	}
	s.waiting++
	return s.beginLocked(), nil
}

func (s *source) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting--
}
