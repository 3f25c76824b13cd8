package lifecycle_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	okta "github.com/scim-operator/scim-operator/test/okta/client"
	"github.com/scim-operator/scim-operator/test/okta/harness"
)

// rotating is a ScimToken with a rotation, and its App.
type rotating struct {
	app    harness.App
	object *v1alpha1.ScimToken
}

func newRotating(t *testing.T) *rotating {
	t.Helper()
	r := &rotating{app: newApp(t, 0)}
	r.object = operator.CreateToken(t, r.app, v1alpha1.ScimTokenSpec{
		Generate: &v1alpha1.GenerateToken{SecretName: "rotating"},
		Rotation: &v1alpha1.TokenRotation{Every: metav1.Duration{Duration: time.Hour}, Overlap: metav1.Duration{Duration: 10 * time.Minute}},
	})
	return r
}

// status waits until the newest token has this serial, and the former one, if there was one, is accepted.
func (r *rotating) status(t *testing.T, serial int32) *v1alpha1.TokenRotationStatus {
	t.Helper()
	harness.EventuallyEvery(t, 20*time.Millisecond, patience, fmt.Sprintf("token %d", serial), func(ctx context.Context) error {
		if err := operator.Env.Client.Get(ctx, client.ObjectKeyFromObject(r.object), r.object); err != nil {
			return err
		}
		status := r.object.Status.Rotation
		if status == nil || status.Serial != serial || (serial > 1 && status.Former == nil) {
			return fmt.Errorf("rotation %+v", status)
		}
		return nil
	})
	return r.object.Status.Rotation
}

// secrets returns the serials of all tokens of the ScimToken that there are, sorted, and the text of each.
func (r *rotating) secrets(t *testing.T) (serials []int, texts map[int]string) {
	t.Helper()
	list := &corev1.SecretList{}
	if err := operator.Env.Client.List(t.Context(), list, client.InNamespace(r.app.Namespace), client.MatchingLabels{v1alpha1.LabelManagedBy: v1alpha1.ManagedByValue}); err != nil {
		t.Fatal(err)
	}
	texts = map[int]string{}
	for i := range list.Items {
		secret := &list.Items[i]
		if secret.Annotations[v1alpha1.AnnotationGeneratedFor] != r.object.Name {
			continue
		}
		serial, err := strconv.Atoi(secret.Annotations[v1alpha1.AnnotationTokenSerial])
		if err != nil {
			t.Fatal(err)
		}
		serials, texts[serial] = append(serials, serial), string(secret.Data["token"])
	}
	slices.Sort(serials)
	return serials, texts
}

// madeAt has the token of a Secret be made at a time.
func (r *rotating) madeAt(t *testing.T, name string, at time.Time) {
	t.Helper()
	secret := &corev1.Secret{}
	if err := operator.Env.Client.Get(t.Context(), client.ObjectKey{Namespace: r.app.Namespace, Name: name}, secret); err != nil {
		t.Fatal(err)
	}
	before := secret.DeepCopy()
	secret.Annotations[v1alpha1.AnnotationTokenMadeAt] = at.UTC().Format(time.RFC3339)
	if err := operator.Env.Client.Patch(t.Context(), secret, client.MergeFrom(before)); err != nil {
		t.Fatal(err)
	}
}

// opens waits until a token opens the App.
func (r *rotating) opens(t *testing.T, text string) {
	t.Helper()
	app := r.app
	app.Token = text
	operator.Opens(t, operator.Server, app)
}

// use sends requests with a token until end is called, and fails the test where one is refused: 429 is no refusal, since clients
// come back.
func (r *rotating) use(t *testing.T, text string) (end func()) {
	t.Helper()
	app := r.app
	app.Token = text
	scim := operator.Client(operator.Server, "/scim/v2", app, okta.AppWizard)
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	answered := 0
	running.Go(func() {
		defer scim.Close()
		for ctx.Err() == nil {
			answer, err := scim.Do(ctx, http.MethodGet, "/Users?startIndex=1&count=1", nil)
			switch {
			case ctx.Err() != nil:
			case err != nil:
				t.Errorf("the client met %v", err)
			case answer.Status == http.StatusOK:
				answered++
			case answer.Status != http.StatusTooManyRequests:
				t.Errorf("the client was answered %d", answer.Status)
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
	})
	return sync.OnceFunc(func() {
		cancel()
		running.Wait()
		if answered == 0 {
			t.Error("no request was answered: the test shows nothing")
		}
	})
}

// A leader that is killed when a rotation is due, a little before or after, leaves one next token and both accepted.
func TestRotationWhenTheLeaderIsKilled(t *testing.T) {
	candidates := elect(t)
	r := newRotating(t)
	status := r.status(t, 1)
	for round := range 4 {
		serial := round + 1
		_, texts := r.secrets(t)
		end := r.use(t, texts[serial])
		r.madeAt(t, status.SecretName, time.Now().Add(-61*time.Minute))
		time.Sleep(time.Duration(round*4) * time.Millisecond)
		if err := candidates[0].Kill(); err != nil {
			t.Fatal(err)
		}
		candidates = append(candidates[1:], stand(t))
		status = r.status(t, int32(serial+1))
		if overlap := status.Former.Until.Sub(status.MadeTime.Time); overlap != 10*time.Minute || status.Former.Until.Before(&metav1.Time{Time: time.Now().Add(9 * time.Minute)}) {
			t.Errorf("round %d: the former token is accepted for %s, until %s", round, overlap, status.Former.Until)
		}
		time.Sleep(time.Second) // a second next token would come now
		serials, texts := r.secrets(t)
		if newest := serials[len(serials)-1]; newest != serial+1 || !slices.Contains(serials, serial) {
			t.Errorf("round %d: there are tokens %v, want %d beside the former %d and no later one", round, serials, serial+1, serial)
		}
		end()
		r.opens(t, texts[serial+1])
	}
}

// A rotation that comes due while the API server is away is made once it is back, and its overlap begins then.
func TestRotationWhileTheAPIServerIsAway(t *testing.T) {
	r := newRotating(t)
	status := r.status(t, 1)
	_, texts := r.secrets(t)
	end := r.use(t, texts[1])
	due := time.Now().Add(8 * time.Second) // the API server must be away by then, on a busy machine, too
	r.madeAt(t, status.SecretName, due.Add(-time.Hour))
	time.Sleep(time.Second) // the controller knows when it is due
	if err := operator.Env.ControlPlane.KillAPIServer(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Until(due) + 3*time.Second)
	if err := operator.Env.ControlPlane.StartAPIServer(t.Context()); err != nil {
		t.Fatal(err)
	}
	back := time.Now()
	status = r.status(t, 2)
	t.Logf("the next token was there %s after the API server was", time.Since(back).Round(time.Millisecond))
	if overlap := status.Former.Until.Sub(status.MadeTime.Time); overlap != 10*time.Minute || status.MadeTime.Time.Before(due.Add(2*time.Second).Truncate(time.Second)) {
		t.Errorf("made at %s, %s after it was due, with an overlap of %s", status.MadeTime, status.MadeTime.Sub(due), overlap)
	}
	time.Sleep(time.Second)
	serials, texts := r.secrets(t)
	if !slices.Equal(serials, []int{1, 2}) {
		t.Errorf("there are tokens %v", serials)
	}
	end()
	r.opens(t, texts[2])
}
