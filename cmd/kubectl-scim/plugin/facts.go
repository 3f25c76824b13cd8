package plugin

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// fact is one thing that happened to a user, as far as objects still tell.
type fact struct {
	Time metav1.Time `json:"time"`
	Text string      `json:"text"`
}

const shownFacts = 10

// factsOf gathers what the user's object and its Events tell of the past: the last ten. The audit trail in the logs of server
// and controller tells all (docs/audit.md).
func (x explainer) factsOf(ctx context.Context, user *v1alpha1.User) ([]fact, error) {
	facts := userFacts(user)
	events := &corev1.EventList{}
	err := x.each(ctx, events, func() error {
		for i := range events.Items {
			event := &events.Items[i]
			facts = append(facts, fact{timeOf(event), fmt.Sprintf("Event %s: %s", event.Reason, event.Message)})
		}
		return nil
	}, client.InNamespace(user.Namespace), client.MatchingFields{"involvedObject.uid": string(user.UID)})
	if err := x.tolerate(err, "Events"); err != nil {
		return nil, err
	}
	slices.SortStableFunc(facts, func(a, b fact) int { return b.Time.Compare(a.Time.Time) })
	return facts[:min(len(facts), shownFacts)], nil
}

func timeOf(event *corev1.Event) metav1.Time {
	switch {
	case event.Series != nil:
		return metav1.NewTime(event.Series.LastObservedTime.Time)
	case !event.LastTimestamp.IsZero():
		return event.LastTimestamp
	case !event.EventTime.IsZero():
		return metav1.NewTime(event.EventTime.Time)
	}
	return event.CreationTimestamp
}

func userFacts(user *v1alpha1.User) (facts []fact) {
	add := func(at *metav1.MicroTime, format string, args ...any) {
		if at != nil && !at.IsZero() {
			facts = append(facts, fact{metav1.NewTime(at.Time), fmt.Sprintf(format, args...)})
		}
	}
	spec := &user.Spec
	add(spec.CreatedAt, "a client created the user")
	add(spec.ReactivatedAt, "a client set active from false to true")
	if spec.LastModified != nil && (spec.CreatedAt == nil || !spec.LastModified.Equal(spec.CreatedAt)) {
		add(spec.LastModified, "a client changed the user, request %s", cmp.Or(spec.LastRequest, "unknown"))
	}
	if since := user.Status.InactiveSince; since != nil {
		facts = append(facts, fact{*since, "the controller first saw the user without access: " + stateOf(user)})
	}
	for _, condition := range user.Status.Conditions {
		if condition.Type == v1alpha1.ConditionReady || condition.Reason == v1alpha1.ReasonActive || condition.Reason == v1alpha1.ReasonNoOtherBindings {
			continue // a summary, and what is not so
		}
		// The status may be older than the reason: Kubernetes records when the status changed.
		facts = append(facts, fact{condition.LastTransitionTime,
			fmt.Sprintf("%s is %s since then; now %s: %s", condition.Type, condition.Status, condition.Reason, condition.Message)})
	}
	if user.DeletionTimestamp != nil {
		text := "deletion was asked for"
		if by := user.Annotations[v1alpha1.AnnotationDeletedBy]; by != "" {
			request, _, _ := strings.Cut(by, " ")
			text += ", by SCIM request " + request
		}
		facts = append(facts, fact{*user.DeletionTimestamp, text})
	}
	for _, managed := range user.ManagedFields {
		if managed.Time != nil && managed.FieldsV1 != nil && managed.Subresource == "" && strings.Contains(managed.FieldsV1.GetRawString(), `"f:suspended"`) {
			facts = append(facts, fact{*managed.Time, fmt.Sprintf("field manager %s, which set spec.suspended, last wrote (suspended: %t)", managed.Manager, spec.Suspended)})
		}
	}
	return facts
}
