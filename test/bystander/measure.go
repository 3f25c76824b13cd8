package bystander

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	okta "github.com/scim-operator/scim-operator/test/okta/client"
)

// The bystander's own load: some 25 requests a second, as one identity provider sends.
const (
	lookUpInterval  = 50 * time.Millisecond
	createInterval  = 250 * time.Millisecond
	leaverInterval  = 500 * time.Millisecond
	suspendInterval = time.Second
	// eventLimit bounds each wait for a denial or a 401: beyond it the figure is a failure.
	eventLimit = 30 * time.Second
)

// Bystander is a tenant with figures to be taken.
type Bystander struct {
	*Tenant
	// Bare, if set, is one request that goes past the product, straight to the API server, as often as look-ups.
	Bare func(context.Context) error

	mu sync.Mutex
	// known are users of the App that look-ups ask for.
	known []string
}

// New makes a bystander's tenant, with one user. Errors are those of NewTenant and of the user's creation.
func New(ctx context.Context, url string, admin client.Client) (*Bystander, error) {
	tenant, err := NewTenant(ctx, url, admin, nil)
	if err != nil {
		return nil, err
	}
	b := &Bystander{Tenant: tenant}
	_, _, err = b.create(ctx, "first")
	return b, err
}

// Figures are what the bystander saw. Times of requests that failed are not among them: those count as Failures.
type Figures struct {
	// LookUps are requests for one user by userName; Creates are POSTs of a user.
	LookUps, Creates []time.Duration
	// Grants are from a POST to the API server's yes.
	Grants []time.Duration
	// Denials are from the beginning of a deactivation to the API server's no.
	Denials []time.Duration
	// Suspensions are from the edit of a ScimToken to the first 401.
	Suspensions []time.Duration
	// Bares are requests past the product; none without Bystander.Bare.
	Bares []time.Duration
	// Failures counts requests and waits that did not end as they must, 429 among them; First is the first one's error.
	Failures int
	First    error
}

func (f *Figures) fail(err error) {
	f.Failures++
	if f.First == nil {
		f.First = err
	}
}

// Measure takes figures for so long, one leaver and one suspension at least. The error is about ctx only: what the bystander
// could not do is in the figures.
func (b *Bystander) Measure(ctx context.Context, duration time.Duration) (Figures, error) {
	var figures Figures
	var mu sync.Mutex
	end := time.Now().Add(duration)
	var running sync.WaitGroup
	// repeat does one thing every interval until the end, at least once.
	repeat := func(interval time.Duration, once func(context.Context) (time.Duration, error), into *[]time.Duration) {
		running.Go(func() {
			ticker := time.NewTicker(interval)
			defer ticker.Stop()
			for first := true; first || time.Now().Before(end); first = false {
				took, err := once(ctx)
				if ctx.Err() != nil {
					return
				}
				mu.Lock()
				if err != nil {
					figures.fail(err)
				} else {
					*into = append(*into, took)
				}
				mu.Unlock()
				<-ticker.C
			}
		})
	}
	repeat(lookUpInterval, b.lookUp, &figures.LookUps)
	repeat(createInterval, func(ctx context.Context) (time.Duration, error) {
		_, took, err := b.create(ctx, "new")
		return took, err
	}, &figures.Creates)
	repeat(leaverInterval, func(ctx context.Context) (time.Duration, error) {
		granted, denied, err := b.leave(ctx)
		if err == nil {
			mu.Lock()
			figures.Grants = append(figures.Grants, granted)
			mu.Unlock()
		}
		return denied, err
	}, &figures.Denials)
	repeat(suspendInterval, b.suspend, &figures.Suspensions)
	if b.Bare != nil {
		repeat(lookUpInterval, b.bare, &figures.Bares)
	}
	running.Wait()
	return figures, ctx.Err()
}

func (b *Bystander) bare(ctx context.Context) (time.Duration, error) {
	begun := time.Now()
	err := b.Bare(ctx)
	return time.Since(begun), err
}

func (b *Bystander) newProfile(kind string) okta.Profile {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.serial++
	return okta.NewProfile(fmt.Sprintf("%s.%06d@example.com", kind, b.serial))
}

// create posts a user and returns it with what that took.
func (b *Bystander) create(ctx context.Context, kind string) (*okta.Assignment, time.Duration, error) {
	person := okta.Assign(b.newProfile(kind))
	begun := time.Now()
	if _, err := b.SCIM.Create(ctx, person); err != nil {
		return nil, 0, fmt.Errorf("create: %w", err)
	}
	took := time.Since(begun)
	b.mu.Lock()
	defer b.mu.Unlock()
	if kind != "leaver" {
		b.known = append(b.known, person.Profile.UserName)
	}
	return person, took, nil
}

// lookUp asks for one user by userName, as Okta does before each step.
func (b *Bystander) lookUp(ctx context.Context) (time.Duration, error) {
	b.mu.Lock()
	userName := b.known[b.serial%len(b.known)]
	b.mu.Unlock()
	begun := time.Now()
	answer, err := b.SCIM.Do(ctx, http.MethodGet, "/Users"+okta.FilterQuery(okta.Equals("userName", userName)), nil)
	if err != nil {
		return 0, fmt.Errorf("look-up: %w", err)
	}
	took := time.Since(begun)
	if answer.Status != http.StatusOK {
		return 0, fmt.Errorf("look-up: answered %d: %s", answer.Status, answer.Body)
	}
	return took, nil
}

// leave provisions a user, waits for the access, and deactivates the user.
func (b *Bystander) leave(ctx context.Context) (granted, denied time.Duration, err error) {
	posted := time.Now()
	person, _, err := b.create(ctx, "leaver")
	if err != nil {
		return 0, 0, err
	}
	if err := b.poll(ctx, eventLimit, "access of a new user", b.access(person, true)); err != nil {
		return 0, 0, err
	}
	granted = time.Since(posted)
	begun := time.Now()
	answered := make(chan error, 1)
	go func() {
		answer, err := b.SCIM.Do(ctx, http.MethodPatch, "/Users/"+person.ID, []byte(
			`{"schemas":["`+okta.SchemaPatchOp+`"],"Operations":[{"op":"replace","value":{"active":false}}]}`))
		if err == nil && answer.Status != http.StatusOK {
			err = fmt.Errorf("answered %d: %s", answer.Status, answer.Body)
		}
		answered <- err
	}()
	err = b.poll(ctx, eventLimit, "denial of a leaver", b.access(person, false))
	denied = time.Since(begun)
	if failed := <-answered; failed != nil {
		err = errors.Join(fmt.Errorf("deactivation: %w", failed), err)
	}
	return granted, denied, err
}

// access checks by a SubjectAccessReview whether the user can list ConfigMaps in the tenant's namespace.
func (b *Bystander) access(person *okta.Assignment, want bool) func(context.Context) error {
	return func(ctx context.Context) error {
		review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
			User:               b.subject(person.Profile.UserName),
			ResourceAttributes: &authorizationv1.ResourceAttributes{Namespace: b.Namespace, Verb: "list", Resource: "configmaps"},
		}}
		if err := b.Admin.Create(ctx, review); err != nil {
			return err
		}
		if review.Status.Allowed != want {
			return fmt.Errorf("%s is allowed: %t, want %t", review.Spec.User, review.Status.Allowed, want)
		}
		return nil
	}
}

// suspend makes a token, and returns the time from its suspension to the server's first 401.
func (b *Bystander) suspend(ctx context.Context) (time.Duration, error) {
	text, object, err := b.NewToken(ctx)
	if err != nil {
		return 0, err
	}
	scim := b.client(text)
	defer scim.Close()
	if err := b.accepted(ctx, scim, true, eventLimit); err != nil {
		return 0, err
	}
	before := object.DeepCopy()
	object = &v1alpha1.ScimToken{}
	if err := b.Admin.Get(ctx, client.ObjectKeyFromObject(before), object); err != nil {
		return 0, err
	}
	before = object.DeepCopy()
	object.Spec.Suspended = true
	begun := time.Now()
	if err := b.Admin.Patch(ctx, object, client.MergeFrom(before)); err != nil {
		return 0, err
	}
	err = b.accepted(ctx, scim, false, eventLimit)
	return time.Since(begun), err
}
