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

// safety records every version of every User, App and native binding. All of them are in one etcd, and its revision is their
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

// version is one state of one object. Exactly one of user, binding and app is set.
type version struct {
	revision uint64
	key      string
	deleted  bool
	user     *userVersion
	binding  *bindingVersion
	app      *appVersion
}

type userVersion struct {
	id, app    string
	generation int64
	// may says whether the person may have access.
	may bool
	// subjects by which the person may be bound, whatever attribute the App chooses.
	subjects []int
	// status as it is, and whether it says that access which has to go may not be gone yet, or that the App is wrong.
	status         *v1alpha1.UserStatus
	failed, frozen bool
}

type bindingVersion struct {
	// role is the native role, of that it was made from which role of which App in which scope.
	role     string
	of       holding
	subjects []int
}

// holding is one role of an App in one scope.
type holding struct{ app, role, scope string }

// appVersion is what an App's author asked to release, and what its status says was.
type appVersion struct{ name, asked, released string }

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
		{&v1alpha1.AppList{}, []client.ListOption{client.InNamespace(c.apps[0].Namespace)}},
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
			case watch.Bookmark:
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
		case *v1alpha1.App:
			v.app = &appVersion{name: object.Name, asked: object.Annotations[v1alpha1.AnnotationReleaseRemovals]}
			if object.Status.Removals != nil {
				v.app.released = object.Status.Removals.Released
			}
		case *rbacv1.RoleBinding:
			v.binding = s.bindingOf(object, object.RoleRef, object.Subjects)
		case *rbacv1.ClusterRoleBinding:
			v.binding = s.bindingOf(object, object.RoleRef, object.Subjects)
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
	granted := meta.FindStatusCondition(user.Status.Conditions, v1alpha1.ConditionAccessGranted)
	v := &userVersion{
		id: user.Name, app: user.Spec.App, generation: user.Generation,
		may:    user.Spec.Active && !user.Spec.Suspended && user.DeletionTimestamp.IsZero(),
		status: &user.Status,
		failed: revoked != nil && revoked.Reason == v1alpha1.ReasonBindingFailed,
		frozen: granted != nil && granted.Reason == v1alpha1.ReasonAppNotReady,
	}
	names := []string{user.Spec.UserName}
	if user.Spec.ExternalID != "" {
		names = append(names, user.Spec.ExternalID)
	}
	for _, email := range user.Spec.Emails {
		names = append(names, email.Value)
	}
	for _, name := range names {
		v.subjects = append(v.subjects, s.number(s.prefixes[user.Spec.App]+name))
	}
	return v
}

func (s *safety) bindingOf(object client.Object, ref rbacv1.RoleRef, subjects []rbacv1.Subject) *bindingVersion {
	marks := object.GetAnnotations()
	v := &bindingVersion{role: ref.Name, of: holding{
		app: object.GetLabels()[v1alpha1.LabelApp], role: marks[v1alpha1.LabelRole], scope: marks[v1alpha1.LabelScope],
	}}
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
	h := newHistory(s, c)
	for _, v := range s.versions {
		h.play(v)
	}
	c.t.Logf("%d versions of users, Apps and bindings: %d times a user was to be bound under a name no more, %d bindings of this operator "+
		"and %d statuses examined; of people without changes of their own, %d lost roles between two releases at most, and %d were released",
		len(s.versions), h.ended, h.examined, h.statuses, h.guard.most, h.guard.freed)
	if h.ended == 0 || h.examined == 0 || h.statuses == 0 {
		c.t.Error("no access ended, or nothing was bound: the test has tested nothing")
	}
	for i, violation := range h.violations {
		if i == 20 {
			c.t.Errorf("and %d more", len(h.violations)-i)
			break
		}
		c.t.Error(violation)
	}
}
