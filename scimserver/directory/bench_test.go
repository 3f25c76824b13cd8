package directory

import (
	"fmt"
	"sync/atomic"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/claims"
)

// The cost of the directory over the writes that it cannot do without: compare BenchmarkCreate with BenchmarkBarePair.
func BenchmarkCreate(b *testing.B) {
	app := newApp(b)
	d := replica(b, app)
	inParallel(b, func(n int64) error {
		_, _, err := d.Users.Create(b.Context(), app, person(fmt.Sprintf("ada%d@example.com", n), "externalId", fmt.Sprint(n)))
		return err
	})
}

func BenchmarkBarePair(b *testing.B) {
	app := newApp(b)
	d := replica(b, app)
	inParallel(b, func(n int64) error {
		user, err := d.Users.newUser(app, person(fmt.Sprintf("ada%d@example.com", n), "externalId", fmt.Sprint(n)))
		if err != nil {
			return err
		}
		if err := d.Users.live.Create(b.Context(), user); err != nil {
			return err
		}
		key := user.Spec.UserNameKey
		return d.Users.live.Create(b.Context(), &v1alpha1.NameClaim{
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

// BenchmarkPatchOneMember is what one change of one member takes: the size of the group must not matter.
func BenchmarkPatchOneMember(b *testing.B) {
	for _, size := range []int{100, 5000, 100_000} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			app := newApp(b)
			d := replica(b, app)
			ids := remember(b, d, app, size)
			group := mustCreateGroup(b, d, app, "Staff", ids...)
			n := 0
			for b.Loop() {
				change := removeMembers(ids[n/2%size])
				if n%2 == 1 {
					change = addMembers(ids[n/2%size])
				}
				if _, changed, err := d.Groups.Update(b.Context(), app, group.Name, nil, change); err != nil || !changed {
					b.Fatal(changed, err)
				}
				n++
			}
		})
	}
}

// BenchmarkListWithGroups renders a page of 1000 users from memory. Each user is in ten groups.
func BenchmarkListWithGroups(b *testing.B) {
	app := newApp(b)
	d := replica(b, app)
	ids := remember(b, d, app, 1000)
	for i := range 10 {
		mustCreateGroup(b, d, app, fmt.Sprint("group ", i), ids...)
	}
	for b.Loop() {
		if page, _, err := d.Users.List(app, baseURL, 1, 1000); err != nil || len(page) != 1000 {
			b.Fatal(len(page), err)
		}
	}
}
