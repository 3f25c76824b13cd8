package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/hack/localoperator"
)

// admission is what the RevocationLists cost every write in the cluster, of users that are on none of them.
type admission struct{ lists, names int }

var admissions = []admission{{1, 1}, {1, 100}, {1, 1000}, {10, 100}, {10, 1000}}

const (
	// admissionTarget bounds the median of a write in milliseconds, with 1,000 names on one list.
	admissionTarget = 3
	// policyTimeout bounds how long the API server takes to see a list: it looks for new kinds every 30 s.
	policyTimeout = 90 * time.Second
	benchWriters  = "bench-writers"
	writerUser    = "bench:writer"
	revokedUser   = "bench:revoked"
)

func (a admission) name() string { return fmt.Sprintf("admission-%dx%d", a.lists, a.names) }

func (p plan) admissionNames() []string {
	names := make([]string, len(admissions))
	for i, a := range admissions {
		names[i] = a.name()
	}
	return names
}

// measureAdmission times creates of a ConfigMap as a dry run, which end before the write to etcd.
func (s *suite) measureAdmission(ctx context.Context, e *environment) error {
	var clients [2]client.Client
	for i, user := range []string{writerUser, revokedUser} {
		config, err := e.plane.UserConfig(user)
		if err != nil {
			return err
		}
		if clients[i], err = client.New(config, client.Options{Scheme: e.scheme}); err != nil {
			return err
		}
	}
	// The ClusterRole edit is empty here: no controller aggregates it.
	err := e.admin.Create(ctx, &rbacv1.ClusterRole{
		ObjectMeta: metav1.ObjectMeta{Name: benchWriters},
		Rules:      []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"configmaps"}, Verbs: []string{"create"}}},
	})
	if err != nil {
		return err
	}
	err = e.admin.Create(ctx, &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: benchWriters},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: benchWriters},
		Subjects: []rbacv1.Subject{
			{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: writerUser},
			{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: revokedUser},
		},
	})
	if err != nil {
		return err
	}
	for _, a := range admissions {
		if !s.wants(a.name()) {
			continue
		}
		if err := s.measureLists(ctx, e, a, clients[0], clients[1]); err != nil {
			return fmt.Errorf("%s: %w", a.name(), err)
		}
	}
	return nil
}

func (s *suite) measureLists(ctx context.Context, e *environment, a admission, writer, revoked client.Client) (err error) {
	s.progress.say("writes beside %d RevocationLists of %d names", a.lists, a.names)
	lists := make([]*v1alpha1.RevocationList, a.lists)
	defer func() {
		for _, list := range lists {
			if list != nil {
				err = errors.Join(err, client.IgnoreNotFound(e.admin.Delete(context.WithoutCancel(ctx), list)))
			}
		}
		err = errors.Join(err, awaitDenial(ctx, revoked, false))
	}()
	if err := awaitDenial(ctx, writer, false); err != nil {
		return err
	}
	before, err := s.timeWrites(ctx, writer)
	if err != nil {
		return err
	}
	for i := range lists {
		if lists[i], err = newList(ctx, e.admin, i, a.names); err != nil {
			return err
		}
	}
	if err := awaitDenial(ctx, revoked, true); err != nil {
		return err
	}
	during, err := s.timeWrites(ctx, writer)
	if err != nil {
		return err
	}
	value := float64(during[len(during)/2].Microseconds()) / 1000
	f := figure{
		name: a.name(), title: fmt.Sprintf("create beside %d lists of %d names", a.lists, a.names), n: len(during), concurrency: 1,
		value: value, unit: milliseconds, p50: during[len(during)/2], p99: during[len(during)*99/100],
		baseline: float64(before[len(before)/2].Microseconds()) / 1000,
	}
	f.ratio = f.value / f.baseline
	if a.lists == 1 {
		f.target, f.verdict = fmt.Sprintf("p50 ≤ %d ms", admissionTarget), atMost(value, admissionTarget)
	}
	s.report.add(f)
	return nil
}

// newList makes a list of an App that does not exist. The last name is the revoked user's.
func newList(ctx context.Context, admin client.Client, index, names int) (*v1alpha1.RevocationList, error) {
	app := types.NamespacedName{Namespace: "bench", Name: fmt.Sprintf("app-%d", index)}
	list := &v1alpha1.RevocationList{
		ObjectMeta: metav1.ObjectMeta{Namespace: localoperator.Namespace, Name: v1alpha1.RevocationListName(app)},
		Spec:       v1alpha1.RevocationListSpec{App: v1alpha1.RevocationListApp{Namespace: app.Namespace, Name: app.Name}},
	}
	expires := time.Now().Add(time.Hour)
	users := map[string]time.Time{revokedUser: expires}
	for i := range names - 1 {
		users[fmt.Sprintf("bench:person.%d.of.%d@example.com", i, index)] = expires
	}
	list.Spec.SetUsers(users)
	return list, admin.Create(ctx, list)
}

// awaitDenial returns when a user's writes are refused, or let through.
func awaitDenial(ctx context.Context, c client.Client, denied bool) error {
	err := wait.PollUntilContextTimeout(ctx, 100*time.Millisecond, policyTimeout, true, func(ctx context.Context) (bool, error) {
		err := writeOnce(ctx, c)
		if err != nil && !apierrors.IsForbidden(err) {
			return false, err
		}
		return (err != nil) == denied, nil
	})
	if err != nil {
		return fmt.Errorf("waiting for writes to be denied %t: %w", denied, err)
	}
	return nil
}

func writeOnce(ctx context.Context, c client.Client) error {
	return c.Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "bench"}}, client.DryRunAll)
}

// timeWrites returns the times of as many writes as a round has reads, sorted.
func (s *suite) timeWrites(ctx context.Context, c client.Client) ([]time.Duration, error) {
	took := make([]time.Duration, s.plan.reads)
	for i := range took {
		begin := time.Now()
		if err := writeOnce(ctx, c); err != nil {
			return nil, err
		}
		took[i] = time.Since(begin)
	}
	slices.Sort(took)
	return took, nil
}
