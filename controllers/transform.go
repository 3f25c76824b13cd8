package controllers

import (
	"slices"
	"strings"
	"sync"
	"unique"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/cache"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// compact is the transform of Users on their way into the cache, which they are most of. It drops managed fields, and lets
// Users share common texts and labels. A decoder makes new ones for each User, and leaves room in every list for twice as
// many elements. That is a third of a User's memory. Nothing else is dropped: what the cache holds can be written back.
func compact(object any) (any, error) {
	object, err := cache.TransformStripManagedFields()(object)
	user, isUser := object.(*v1alpha1.User)
	if err != nil || !isUser {
		return object, err
	}
	share(&user.Kind, &user.APIVersion, &user.Namespace, &user.Spec.App, &user.Status.RoleNames)
	shareAll(user.Finalizers)
	user.Labels = sharedLabels(user.Labels)
	compactSpec(&user.Spec)
	compactStatus(&user.Status)
	// As a rule the Kubernetes user name ends with the userName.
	sharePart(user.Status.KubernetesUsername, &user.Spec.UserName)
	for _, part := range []*string{&user.Spec.UserNameKey, &user.Status.ReservedKey} {
		sharePart(user.Spec.UserName, part)
	}
	for i := range user.Spec.Emails {
		sharePart(user.Spec.UserName, &user.Spec.Emails[i].Value)
	}
	return user, nil
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
	if spec.Name != nil {
		sharePart(spec.DisplayName, &spec.Name.Formatted)
	}
}

func compactStatus(status *v1alpha1.UserStatus) {
	status.Roles, status.Conditions = exact(status.Roles), exact(status.Conditions)
	for i := range status.Roles {
		role := &status.Roles[i]
		share(&role.Role, &role.Scope)
		role.Reasons = exact(role.Reasons)
		shareAll(role.Reasons)
	}
	for i := range status.Conditions {
		condition := &status.Conditions[i]
		share(&condition.Type, &condition.Reason, &condition.Message)
		condition.Status = metav1.ConditionStatus(shared(string(condition.Status)))
	}
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

// exact returns a list without room for more.
func exact[E any](list []E) []E {
	if len(list) == cap(list) {
		return list
	}
	return slices.Concat(list)
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
