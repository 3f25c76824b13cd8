package scimserver

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

const (
	// usesApart is the least time between two writes of a token's lastUsedTime, by whatever replica.
	usesApart = 15 * time.Minute
	// usesEvery is how often noted uses are looked at: a token's first use shows when an administrator looks for it right after
	// Okta's connection test. usesRetry is the rest after an attempt.
	usesEvery = time.Second
	usesRetry = time.Minute
	// usesTimeout bounds one write, and usesAtOnce those of one look: the rest waits for the next one.
	usesTimeout = 5 * time.Second
	usesAtOnce  = 50
)

// usedToken is one ScimToken, and the digest's identifier by which it was used.
type usedToken struct {
	name types.NamespacedName
	id   string
}

// tokenUses writes into ScimTokens when they were last used. A request only notes its token in memory: the write is another
// goroutine's, and no request waits for one or fails by one. A write has the resourceVersion as precondition under which the
// stored time was old enough, so that of several replicas one writes. Safe for concurrent use.
type tokenUses struct {
	client client.StatusClient
	stored func(usedToken) *v1alpha1.ScimToken
	log    logr.Logger
	now    func() time.Time

	mu sync.Mutex
	// noted are uses that were not written yet.
	noted map[usedToken]time.Time
	// rest is until when nothing is tried for a token: the watch may not have shown the last write yet.
	rest map[usedToken]time.Time
}

func newTokenUses(statuses client.StatusClient, stored func(usedToken) *v1alpha1.ScimToken, log logr.Logger) *tokenUses {
	return &tokenUses{
		client: statuses, stored: stored, log: log, now: time.Now,
		noted: map[usedToken]time.Time{}, rest: map[usedToken]time.Time{},
	}
}

// note remembers that a token was used now.
func (u *tokenUses) note(opened credential) {
	now := u.now()
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, name := range opened.tokens {
		u.noted[usedToken{name, opened.tokenID}] = now
	}
}

// run writes what was noted until ctx ends.
func (u *tokenUses) run(ctx context.Context) { everyUses(ctx, u.write) }

// everyUses calls write each usesEvery until ctx ends.
func everyUses(ctx context.Context, write func(context.Context)) {
	ticker := time.NewTicker(usesEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			write(ctx)
		}
	}
}

// write writes the uses that are due.
func (u *tokenUses) write(ctx context.Context) {
	for used, at := range u.due() {
		token := u.stored(used)
		if token == nil || !isUseDue(token, at) {
			continue
		}
		u.mu.Lock()
		u.rest[used] = u.now().Add(usesRetry)
		u.mu.Unlock()
		err := u.patch(ctx, token, at)
		switch {
		case apierrors.IsConflict(err):
			// Another writer changed the token: the watch shows its version by the next look.
			u.again(used, at)
		case err != nil && !apierrors.IsNotFound(err) && ctx.Err() == nil:
			u.log.V(1).Info("The time of a token's last use was not written", "token", used.name.String(), "cause", err.Error())
		}
	}
}

// again leaves a use for the next look, and the token without a rest.
func (u *tokenUses) again(used usedToken, at time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.rest, used)
	if _, later := u.noted[used]; !later {
		u.noted[used] = at
	}
}

// due takes some of the noted uses of tokens that do not rest.
func (u *tokenUses) due() map[usedToken]time.Time {
	now := u.now()
	u.mu.Lock()
	defer u.mu.Unlock()
	for used, until := range u.rest {
		if now.After(until) {
			delete(u.rest, used)
		}
	}
	taken := map[usedToken]time.Time{}
	for used, at := range u.noted {
		if _, rests := u.rest[used]; rests || len(taken) == usesAtOnce {
			continue
		}
		taken[used] = at
		delete(u.noted, used)
	}
	return taken
}

// isUseDue says whether a use at that time is to be written into a ScimToken.
func isUseDue(token *v1alpha1.ScimToken, at time.Time) bool {
	last := token.Status.LastUsedTime
	return last == nil || at.Sub(last.Time) >= usesApart
}

func (u *tokenUses) patch(ctx context.Context, token *v1alpha1.ScimToken, at time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, usesTimeout)
	defer cancel()
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]string{"resourceVersion": token.ResourceVersion},
		"status":   map[string]metav1.Time{"lastUsedTime": metav1.NewTime(at.UTC().Truncate(time.Second))},
	})
	if err != nil {
		return err
	}
	object := &v1alpha1.ScimToken{}
	object.Namespace, object.Name = token.Namespace, token.Name
	return u.client.Status().Patch(ctx, object, client.RawPatch(types.MergePatchType, patch))
}
