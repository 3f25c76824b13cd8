package scimtoken

import (
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/token"
)

var noon = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

func rotating() *v1alpha1.ScimToken {
	return &v1alpha1.ScimToken{
		ObjectMeta: metav1.ObjectMeta{Namespace: "directory", Name: "okta", UID: "7d0d8a52-0000-0000-0000-000000000000"},
		Spec: v1alpha1.ScimTokenSpec{App: "one", Generate: &v1alpha1.GenerateToken{SecretName: "made"}, Rotation: &v1alpha1.TokenRotation{
			Every: metav1.Duration{Duration: 24 * time.Hour}, Overlap: metav1.Duration{Duration: time.Hour},
		}},
	}
}

// madeAt is a token of a serial, made that long before noon.
func madeAt(object *v1alpha1.ScimToken, serial int32, age time.Duration) generated {
	return generatedFrom(&corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: secretNameOf(object, serial), Annotations: map[string]string{
			v1alpha1.AnnotationTokenSerial: strconv.Itoa(int(serial)), v1alpha1.AnnotationTokenMadeAt: noon.Add(-age).Format(time.RFC3339),
		}},
		Data: map[string][]byte{defaultKey: []byte(strings.Repeat("x", token.MinimumLength) + strconv.Itoa(int(serial)))},
	}, noon)
}

// The former token is accepted until the overlap after the newest one was made has passed; what is older is deleted, and never
// comes back.
func TestRotate(t *testing.T) {
	object := rotating()
	for _, test := range []struct {
		title   string
		newest  time.Duration
		serials []int32
		former  int32
		retired []int32
	}{
		{"the first token", time.Hour, []int32{1}, 0, nil},
		{"in the overlap", 59 * time.Minute, []int32{1, 2}, 1, nil},
		{"at its end", time.Hour, []int32{1, 2}, 0, []int32{1}},
		{"older ones", time.Minute, []int32{1, 2, 3}, 2, []int32{1}},
		{"the one before was deleted", time.Minute, []int32{1, 3}, 0, []int32{1}},
		{"twice in the list", time.Minute, []int32{1, 1, 2}, 1, nil},
	} {
		last := test.serials[len(test.serials)-1]
		var made []generated
		for _, serial := range test.serials {
			made = append(made, madeAt(object, serial, test.newest+time.Duration(last-serial)*24*time.Hour))
		}
		newest := made[len(made)-1]
		state := tokenState{digest: token.Digest(string(newest.secret.Data[defaultKey]))}
		state.rotate(object, newest, made, noon)
		var retired []int32
		for _, secret := range state.retired {
			retired = append(retired, generatedFrom(secret, noon).serial)
		}
		var former string
		if state.rotation.Former != nil {
			former = state.rotation.Former.SecretName
		}
		want := ""
		if test.former != 0 {
			want = secretNameOf(object, test.former)
		}
		if former != want || !slices.Equal(retired, test.retired) {
			t.Errorf("%s: former %q, retired %v, want %q, %v", test.title, former, retired, want, test.retired)
		}
		if state.rotation.Serial != last || !state.rotation.NextTime.Equal(&metav1.Time{Time: noon.Add(24*time.Hour - test.newest)}) {
			t.Errorf("%s: %+v", test.title, state.rotation)
		}
	}
}

// The next token is due after every, and never for a ScimToken that opens nothing.
func TestIsRotationDue(t *testing.T) {
	for title, test := range map[string]struct {
		age    time.Duration
		change func(*v1alpha1.ScimToken)
		want   bool
	}{
		"early":       {24*time.Hour - time.Second, func(*v1alpha1.ScimToken) {}, false},
		"due":         {24 * time.Hour, func(*v1alpha1.ScimToken) {}, true},
		"no rotation": {48 * time.Hour, func(t *v1alpha1.ScimToken) { t.Spec.Rotation = nil }, false},
		"suspended":   {48 * time.Hour, func(t *v1alpha1.ScimToken) { t.Spec.Suspended = true }, false},
		"expired":     {48 * time.Hour, func(t *v1alpha1.ScimToken) { t.Spec.ExpiresAt = &metav1.Time{Time: noon} }, false},
	} {
		object := rotating()
		test.change(object)
		if got := isRotationDue(object, madeAt(object, 1, test.age), noon); got != test.want {
			t.Errorf("%s: %v", title, got)
		}
	}
}

// An annotation asks for the next token, once for each value, and not while the former one is accepted.
func TestRotationOnRequest(t *testing.T) {
	ask := func(value string) *v1alpha1.ScimToken {
		object := rotating()
		object.Annotations = map[string]string{v1alpha1.AnnotationRotateToken: value}
		return object
	}
	made := func(serial int32, age time.Duration, asked string) generated {
		token := madeAt(rotating(), serial, age)
		if asked != "" {
			token.asked = askedOf(ask(asked))
		}
		return token
	}
	for title, test := range map[string]struct {
		object *v1alpha1.ScimToken
		newest generated
		want   bool
	}{
		"no request":                   {ask(""), made(1, time.Minute, ""), false},
		"of the first token":           {ask("x"), made(1, time.Second, ""), true},
		"answered":                     {ask("x"), made(2, 2*time.Hour, "x"), false},
		"another one":                  {ask("y"), made(2, 2*time.Hour, "x"), true},
		"another one, in the overlap":  {ask("y"), made(2, time.Hour-time.Second, "x"), false},
		"another one, at its end":      {ask("y"), made(2, time.Hour, "x"), true},
		"taken back":                   {ask(""), made(2, 2*time.Hour, "x"), false},
		"of a value that is very long": {ask(strings.Repeat("x", 1<<17)), made(2, 2*time.Hour, ""), true},
	} {
		if got := isRotationDue(test.object, test.newest, noon); got != test.want {
			t.Errorf("%s: %v, want %v", title, got, test.want)
		}
	}
	suspended := ask("x")
	suspended.Spec.Suspended = true
	if isRotationDue(suspended, made(1, time.Minute, ""), noon) {
		t.Error("a suspended token is rotated on request")
	}
	plain := ask("x")
	plain.Spec.Rotation = nil
	if isRotationDue(plain, made(1, time.Minute, ""), noon) {
		t.Error("a token without rotation is rotated on request")
	}
	if asked := askedOf(ask(strings.Repeat("x", 1<<17))); len(asked) != 16 {
		t.Errorf("the Secret is to hold %q", asked)
	}
}

// Names of Secrets after the first depend on the ScimToken's UID, which no author chooses, and fit the API server.
func TestSecretNames(t *testing.T) {
	object, other := rotating(), rotating()
	other.UID = "7d0d8a52-0000-0000-0000-000000000001"
	if name := secretNameOf(object, 1); name != "made" {
		t.Errorf("the first Secret is named %s", name)
	}
	if secretNameOf(object, 2) == secretNameOf(other, 2) || secretNameOf(object, 2) == secretNameOf(object, 3) {
		t.Error("two Secrets have one name")
	}
	for _, serial := range []int32{1, 2, 1 << 30} {
		if name := secretNameOf(object, serial); !isNamedFor(name, object) {
			t.Errorf("%s is not taken for a Secret of its ScimToken", name)
		}
	}
	for _, name := range []string{"made-", "made-2", "other", "mademade", ""} {
		if isNamedFor(name, object) {
			t.Errorf("%q is taken for a Secret of the ScimToken", name)
		}
	}
	// What a Secret's annotations cannot mean is passed over: then the Secret's own age counts.
	created := metav1.NewTime(noon.Add(-time.Hour))
	for _, made := range []string{"", "nonsense", noon.Add(time.Minute).Format(time.RFC3339)} {
		found := generatedFrom(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{CreationTimestamp: created, Annotations: map[string]string{
			v1alpha1.AnnotationTokenMadeAt: made, v1alpha1.AnnotationTokenSerial: "-5",
		}}}, noon)
		if found.serial != 1 || !found.made.Equal(created.Time) {
			t.Errorf("made at %q: %+v", made, found)
		}
	}
}
