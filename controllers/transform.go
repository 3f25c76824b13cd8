package controllers

import (
	"hash/maphash"
	"reflect"
	"slices"
	"strings"
	"sync"
	"unique"
	"unsafe"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/cache"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// compact is the transform of Users on their way into the cache, which they are most of. It drops managed fields, and lets
// Users share common texts, labels and roles. A decoder makes new ones for each User, each where it finds room, and leaves room in
// every list for twice as many elements. That is half of a User's memory. Nothing else is dropped: what the cache holds can be written back.
func compact(object any) (any, error) {
	object, err := cache.TransformStripManagedFields()(object)
	user, isUser := object.(*v1alpha1.User)
	if err != nil || !isUser || isPacked(user) {
		return object, err
	}
	user = packed(user)
	share(&user.Kind, &user.APIVersion, &user.Namespace, &user.Spec.App, &user.Status.RoleNames)
	user.Finalizers = finalizerLists.shared(user.Finalizers)
	user.Labels = sharedLabels(user.Labels)
	compactSpec(&user.Spec)
	compactStatus(&user.Status)
	compactTexts(user)
	if user.Status.UID == string(user.UID) {
		user.Status.UID = string(user.UID) // one copy of the text
	}
	return user, nil
}

// packedUser is a User with what each User points to. Together they have the room that the User has alone: the allocator rounds up.
type packedUser struct {
	v1alpha1.User
	createdAt  metav1.MicroTime
	attributes runtime.RawExtension
}

func packed(user *v1alpha1.User) *v1alpha1.User {
	p := &packedUser{User: *user}
	if at := p.Spec.CreatedAt; at != nil {
		p.createdAt = *at
		p.Spec.CreatedAt = &p.createdAt
	}
	if of := p.Spec.Attributes; of != nil {
		p.attributes = runtime.RawExtension{Raw: exact(of.Raw), Object: of.Object}
		p.Spec.Attributes = &p.attributes
	}
	return &p.User
}

// isPacked reports whether a User is one of a packedUser: informers hand it to the transform twice when they begin.
func isPacked(user *v1alpha1.User) bool {
	const behind = unsafe.Offsetof(packedUser{}.createdAt)
	return reflect.ValueOf(user.Spec.CreatedAt).Pointer() == reflect.ValueOf(user).Pointer()+behind
}

// compactTexts has the texts that are this User's alone be parts of one, and of each other where one ends with the other: as a rule the
// Kubernetes user name ends with the userName, and the displayName with the family name. The name stays apart: much beside the cache
// is kept by it, for longer than this state of the User.
func compactTexts(user *v1alpha1.User) {
	spec, status, uid := &user.Spec, &user.Status, string(user.UID)
	join([]*string{&uid, &user.ResourceVersion, &spec.ExternalID, &spec.DisplayName, &spec.LastRequest, &status.KubernetesUsername})
	user.UID = types.UID(uid)
	for _, part := range []*string{&status.BoundAs, &spec.UserName} {
		sharePart(status.KubernetesUsername, part)
	}
	for _, part := range []*string{&spec.UserNameKey, &status.ReservedKey} {
		sharePart(spec.UserName, part)
	}
	for i := range spec.Emails {
		sharePart(spec.UserName, &spec.Emails[i].Value)
	}
	if name := spec.Name; name != nil {
		sharePart(spec.DisplayName, &name.Formatted)
		sharePart(spec.DisplayName, &name.FamilyName)
	}
	sharePart(spec.LastRequest, &status.LastRequest)
}

func compactSpec(spec *v1alpha1.UserSpec) {
	for _, list := range []*[]v1alpha1.MultiValue{
		&spec.Emails, &spec.PhoneNumbers, &spec.IMs, &spec.Photos, &spec.Entitlements, &spec.Roles, &spec.X509Certificates,
	} {
		*list = exact(*list)
		for i := range *list {
			share(&(*list)[i].Type)
		}
	}
	spec.Addresses = exact(spec.Addresses)
	share(&spec.UserType, &spec.PreferredLanguage, &spec.Locale, &spec.Timezone)
	if work := spec.Enterprise; work != nil {
		share(&work.CostCenter, &work.Organization, &work.Division, &work.Department)
	}
}

func compactStatus(status *v1alpha1.UserStatus) {
	for i := range status.Roles {
		role := &status.Roles[i]
		share(&role.Role, &role.Scope)
		shareAll(role.Reasons)
		role.Reasons = reasonLists.shared(exact(role.Reasons))
	}
	status.Roles = roleLists.shared(status.Roles)
	for i := range status.Conditions {
		condition := &status.Conditions[i]
		share(&condition.Type, &condition.Reason, &condition.Message)
		condition.Status = metav1.ConditionStatus(shared(string(condition.Status)))
	}
	// Their times have whole seconds: users of an import have the same ones.
	status.Conditions = conditionLists.shared(status.Conditions)
}

func share(texts ...*string) {
	for _, text := range texts {
		*text = shared(*text)
	}
}

func shareAll(texts []string) {
	for i := range texts {
		texts[i] = shared(texts[i])
	}
}

// shared returns the one copy of a text. It is let go when no User has it any more.
func shared(text string) string {
	if text == "" {
		return text
	}
	return unique.Make(text).Value()
}

// sharePart has a text that another one ends with be that part of it.
func sharePart(whole string, part *string) {
	if *part != "" && strings.HasSuffix(whole, *part) {
		*part = whole[len(whole)-len(*part):]
	}
}

// join has texts be parts of one: a text of its own takes up to a half more room, and is one thing more to look at for the garbage
// collector. All of them stay in memory as long as any of them is used.
func join(texts []*string) {
	size := 0
	for _, text := range texts {
		size += len(*text)
	}
	var whole strings.Builder
	whole.Grow(size)
	for _, text := range texts {
		whole.WriteString(*text)
	}
	rest := whole.String()
	for _, text := range texts {
		*text, rest = rest[:len(*text)], rest[len(*text):]
	}
}

// exact returns a list without room for more.
func exact[E any](list []E) []E {
	if len(list) == cap(list) {
		return list
	}
	return slices.Concat(list)
}

// lists are lists that Users share. Of two that come to one place the later one stays, so that lists without Users are not kept for ever.
type lists[E any] struct {
	mutex  sync.Mutex
	places [1 << 12][]E
	write  func(*maphash.Hash, *E)
	equal  func(*E, *E) bool
}

var (
	listSeed       = maphash.MakeSeed()
	finalizerLists = lists[string]{write: writeText, equal: isSameText}
	reasonLists    = lists[string]{write: writeText, equal: isSameText}
	conditionLists = lists[metav1.Condition]{
		write: func(h *maphash.Hash, condition *metav1.Condition) { maphash.WriteComparable(h, *condition) },
		equal: func(a, b *metav1.Condition) bool { return *a == *b },
	}
	roleLists = lists[v1alpha1.EarnedRole]{
		write: func(h *maphash.Hash, role *v1alpha1.EarnedRole) {
			for _, text := range append([]string{role.Role, role.Scope}, role.Reasons...) {
				writeText(h, &text)
			}
		},
		equal: func(a, b *v1alpha1.EarnedRole) bool {
			return a.Role == b.Role && a.Scope == b.Scope && a.Bound == b.Bound && a.Until.Equal(b.Until) && slices.Equal(a.Reasons, b.Reasons)
		},
	}
)

func writeText(h *maphash.Hash, text *string) { maphash.WriteComparable(h, *text) }
func isSameText(a, b *string) bool            { return *a == *b }

// shared returns the one copy of a list. A list in the cache is never changed.
func (l *lists[E]) shared(list []E) []E {
	if len(list) == 0 {
		return list
	}
	var hash maphash.Hash
	hash.SetSeed(listSeed)
	for i := range list {
		l.write(&hash, &list[i])
	}
	l.mutex.Lock()
	defer l.mutex.Unlock()
	known := &l.places[hash.Sum64()%uint64(len(l.places))]
	if !slices.EqualFunc(*known, list, func(a, b E) bool { return l.equal(&a, &b) }) {
		*known = exact(list)
	}
	return *known
}

// maxSharedLabels bounds how many sets of labels are kept to be shared: an App's Users have one as a rule.
const maxSharedLabels = 4096

var labelSets = struct {
	sync.Mutex
	known map[string]map[string]string
}{known: map[string]map[string]string{}}

// sharedLabels returns the one copy of a set of labels. A set in the cache is never changed.
func sharedLabels(set map[string]string) map[string]string {
	if len(set) == 0 {
		return set
	}
	text := labels.Set(set).String()
	labelSets.Lock()
	defer labelSets.Unlock()
	if known, found := labelSets.known[text]; found {
		return known
	}
	if len(labelSets.known) < maxSharedLabels {
		labelSets.known[text] = set
	}
	return set
}
