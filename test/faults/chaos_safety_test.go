package faults_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	watchtools "k8s.io/client-go/tools/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/test/okta/harness"
)

// safety records every version of every User and native binding. All of them are in one etcd, whose revision is their
// resourceVersion: sorted by it they are the history of the cluster, and tell what was true at each moment.
type safety struct {
	t      *testing.T
	client client.WithWatch

	mu       sync.Mutex
	versions []version
	// latest resourceVersion of each object, to see whether the record is complete.
	latest map[string]string
	// subjects numbers names: bindings with hundreds of them come by thousands.
	subjects map[string]int
	names    []string
	prefixes map[string]string
	failure  error
}

// version is one state of one object. Exactly one of user and binding is set.
type version struct {
	revision uint64
	key      string
	deleted  bool
	user     *userVersion
	binding  *bindingVersion
}

type userVersion struct {
	// may says whether the person may have access, revoked whether the status says that they have none.
	may, revoked bool
	// subjects by which the person may be bound.
	subjects []int
}

type bindingVersion struct {
	role     string
	subjects []int
}

// watchSafety begins the record.
func watchSafety(t *testing.T, c *chaos) *safety {
	t.Helper()
	watching, err := client.NewWithWatch(operator.Env.Config, client.Options{Scheme: operator.Env.Scheme})
	if err != nil {
		t.Fatal(err)
	}
	s := &safety{t: t, client: watching, latest: map[string]string{}, subjects: map[string]int{}, prefixes: map[string]string{}}
	for _, app := range c.apps {
		s.prefixes[app.Name] = app.Prefix
	}
	for _, list := range s.lists(c) {
		if err := s.follow(list.list, list.options); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

type recorded struct {
	list    client.ObjectList
	options []client.ListOption
}

func (s *safety) lists(c *chaos) []recorded {
	return []recorded{
		{&v1alpha1.UserList{}, []client.ListOption{client.InNamespace(c.apps[0].Namespace)}},
		{&rbacv1.RoleBindingList{}, nil},
		{&rbacv1.ClusterRoleBindingList{}, nil},
	}
}

// follow records what there is, and all that comes.
func (s *safety) follow(list client.ObjectList, options []client.ListOption) error {
	ctx := s.t.Context()
	if err := s.client.List(ctx, list, options...); err != nil {
		return err
	}
	if err := meta.EachListItem(list, s.recordObject(false)); err != nil {
		return err
	}
	watcher, err := watchtools.NewRetryWatcherWithContext(ctx, list.GetResourceVersion(), watchFunc(func(ctx context.Context, raw metav1.ListOptions) (watch.Interface, error) {
		return s.client.Watch(ctx, list, append(slices.Clone(options), &client.ListOptions{Raw: &raw})...)
	}))
	if err != nil {
		return err
	}
	go func() {
		for event := range watcher.ResultChan() {
			switch event.Type {
			case watch.Added, watch.Modified:
				s.fail(s.recordObject(false)(event.Object))
			case watch.Deleted:
				s.fail(s.recordObject(true)(event.Object))
			case watch.Error:
				s.fail(fmt.Errorf("the record has a gap: %v", event.Object))
			}
		}
	}()
	return nil
}

type watchFunc func(context.Context, metav1.ListOptions) (watch.Interface, error)

// WatchWithContext serves the retrying watcher.
func (f watchFunc) WatchWithContext(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
	return f(ctx, options)
}

func (s *safety) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failure = errors.Join(s.failure, err)
}

// recordObject returns what records one state of an object.
func (s *safety) recordObject(deleted bool) func(runtime.Object) error {
	return func(state runtime.Object) error {
		object, isObject := state.(client.Object)
		if !isObject {
			return fmt.Errorf("recorded a %T", state)
		}
		revision, err := strconv.ParseUint(object.GetResourceVersion(), 10, 64)
		if err != nil {
			return err
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		v := version{revision: revision, key: keyOf(object), deleted: deleted}
		switch object := object.(type) {
		case *v1alpha1.User:
			v.user = s.versionOf(object)
		case *rbacv1.RoleBinding:
			v.binding = s.bindingOf(object.RoleRef, object.Subjects)
		case *rbacv1.ClusterRoleBinding:
			v.binding = s.bindingOf(object.RoleRef, object.Subjects)
		}
		s.versions = append(s.versions, v)
		if deleted {
			delete(s.latest, v.key)
		} else {
			s.latest[v.key] = object.GetResourceVersion()
		}
		return nil
	}
}

func keyOf(object client.Object) string {
	return fmt.Sprintf("%T %s/%s", object, object.GetNamespace(), object.GetName())
}

func (s *safety) versionOf(user *v1alpha1.User) *userVersion {
	revoked := meta.FindStatusCondition(user.Status.Conditions, v1alpha1.ConditionAccessRevoked)
	prefix := s.prefixes[user.Spec.App]
	v := &userVersion{
		may:      user.Spec.Active && !user.Spec.Suspended && user.DeletionTimestamp.IsZero(),
		revoked:  revoked != nil && revoked.Status == metav1.ConditionTrue && revoked.ObservedGeneration == user.Generation,
		subjects: []int{s.number(prefix + user.Spec.UserName)},
	}
	for _, email := range user.Spec.Emails {
		v.subjects = append(v.subjects, s.number(prefix+email.Value))
	}
	if name := user.Status.KubernetesUsername; name != "" {
		v.subjects = append(v.subjects, s.number(name))
	}
	return v
}

func (s *safety) bindingOf(ref rbacv1.RoleRef, subjects []rbacv1.Subject) *bindingVersion {
	v := &bindingVersion{role: ref.Name}
	for _, subject := range subjects {
		if subject.Kind == rbacv1.UserKind {
			v.subjects = append(v.subjects, s.number(subject.Name))
		}
	}
	return v
}

func (s *safety) number(name string) int {
	number, found := s.subjects[name]
	if !found {
		number = len(s.names)
		s.subjects[name], s.names = number, append(s.names, name)
	}
	return number
}

// complete says whether the record has come to what there is now.
func (s *safety) complete(ctx context.Context, c *chaos) error {
	for _, recorded := range s.lists(c) {
		if err := s.client.List(ctx, recorded.list, recorded.options...); err != nil {
			return err
		}
		s.mu.Lock()
		err := meta.EachListItem(recorded.list, func(state runtime.Object) error {
			object := state.(client.Object)
			if got := s.latest[keyOf(object)]; got != object.GetResourceVersion() {
				return fmt.Errorf("the record has %s at %q, it is at %s", keyOf(object), got, object.GetResourceVersion())
			}
			return nil
		})
		s.mu.Unlock()
		if err != nil {
			return err
		}
	}
	return nil
}

// check plays the record and reports what was never to be.
func (s *safety) check(c *chaos) {
	c.t.Helper()
	harness.EventuallyEvery(c.t, 200*time.Millisecond, recovery, "a complete record", func(ctx context.Context) error { return s.complete(ctx, c) })
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failure != nil {
		c.t.Fatal(s.failure)
	}
	slices.SortStableFunc(s.versions, func(a, b version) int { return cmp.Compare(a.revision, b.revision) })
	h := newHistory(s.names, c)
	for _, v := range s.versions {
		h.play(v)
	}
	c.t.Logf("%d versions of users and bindings: %d times somebody's access was revoked, %d bindings of this operator examined",
		len(s.versions), h.revocations, h.examined)
	if h.revocations == 0 || h.examined == 0 {
		c.t.Error("nobody's access was revoked, or nothing was bound: the test has tested nothing")
	}
	for i, violation := range h.violations {
		if i == 20 {
			c.t.Errorf("and %d more", len(h.violations)-i)
			break
		}
		c.t.Error(violation)
	}
}
