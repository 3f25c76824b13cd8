package directory

import (
	"fmt"
	"sync/atomic"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/scimserver/directory/claims"
)

// The cost of the directory over the writes that it cannot do without: compare BenchmarkCreate with BenchmarkBarePair.
func BenchmarkCreate(b *testing.B) {
	app := newApp(b)
	d := replica(b, app)
	inParallel(b, func(n int64) error {
		_, _, err := d.CreateUser(b.Context(), app, person(fmt.Sprintf("ada%d@example.com", n), "externalId", fmt.Sprint(n)))
		return err
	})
}

func BenchmarkBarePair(b *testing.B) {
	app := newApp(b)
	d := replica(b, app)
	inParallel(b, func(n int64) error {
		user, err := d.newUser(app, person(fmt.Sprintf("ada%d@example.com", n), "externalId", fmt.Sprint(n)))
		if err != nil {
			return err
		}
		if err := d.live.Create(b.Context(), user); err != nil {
			return err
		}
		key := user.Spec.UserNameKey
		return d.live.Create(b.Context(), &v1alpha1.NameClaim{
			ObjectMeta: metav1.ObjectMeta{Namespace: app.Namespace, Name: claims.Name(app.Name, v1alpha1.ClaimUserName, key)},
			Spec:       v1alpha1.NameClaimSpec{App: app.Name, Attribute: v1alpha1.ClaimUserName, Value: key, Holder: user.Name},
		})
	})
}

func inParallel(b *testing.B, request func(int64) error) {
	var next atomic.Int64
	b.SetParallelism(4)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := request(next.Add(1)); err != nil {
				b.Error(err)
				return
			}
		}
	})
}
