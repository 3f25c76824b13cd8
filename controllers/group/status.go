package group

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// statusApart is the time between two writes of one group's status. A push of many members changes the count with every
// request, and each write of the status is a conflict for the next one.
const statusApart = time.Second

// verdict is what one reconcile found out about a Group: everything that its status says.
type verdict struct {
	// fresh: the Group was just written, and its claim is on the way. There is nothing to report yet.
	fresh   bool
	members int
	unknown v1alpha1.UnknownMembers
	roles   []string

	reservedKey string
	name        metav1.Condition
}

func condition(kind string, holds bool, reason, message string) metav1.Condition {
	status := metav1.ConditionFalse
	if holds {
		status = metav1.ConditionTrue
	}
	return metav1.Condition{Type: kind, Status: status, Reason: reason, Message: message}
}

func (v *verdict) nameReserved(group *v1alpha1.Group) {
	v.reservedKey = group.Spec.DisplayNameKey
	v.name = condition(v1alpha1.ConditionNameReserved, true, v1alpha1.ReasonNameReserved, "The displayName is reserved for this group.")
}

func (v *verdict) nameNotReserved(reason, message string) {
	v.name = condition(v1alpha1.ConditionNameReserved, false, reason, message)
}

// unknownOf returns what the server noted of members that it left out.
func unknownOf(group *v1alpha1.Group) v1alpha1.UnknownMembers {
	var unknown v1alpha1.UnknownMembers
	if json.Unmarshal([]byte(group.Annotations[v1alpha1.AnnotationUnknownMembers]), &unknown) != nil {
		return v1alpha1.UnknownMembers{} // absent, or written by another client
	}
	return unknown
}

// apply computes the status of a Group.
func (v *verdict) apply(group *v1alpha1.Group) {
	status := &group.Status
	status.UID, status.ObservedGeneration = string(group.UID), group.Generation
	status.Members = int32(v.members)
	status.Roles = v.roles
	if v.reservedKey != "" {
		status.ReservedKey = v.reservedKey
	}
	known := condition(v1alpha1.ConditionMembersKnown, true, v1alpha1.ReasonMembersKnown, "Every member that the client asked for is a user.")
	if v.unknown.Count > 0 {
		known = condition(v1alpha1.ConditionMembersKnown, false, v1alpha1.ReasonMembersUnknown, unknownMessage(v.unknown))
	}
	ready := condition(v1alpha1.ConditionReady, true, v1alpha1.ReasonReady, "The group can be used.")
	if v.name.Status != metav1.ConditionTrue {
		ready = condition(v1alpha1.ConditionReady, false, v.name.Reason, v.name.Message)
	}
	for _, c := range []metav1.Condition{v.name, known, ready} {
		c.ObservedGeneration = group.Generation
		meta.SetStatusCondition(&status.Conditions, c)
	}
}

func unknownMessage(unknown v1alpha1.UnknownMembers) string {
	quoted := make([]string, len(unknown.IDs))
	for i, id := range unknown.IDs {
		quoted[i] = fmt.Sprintf("%q", id)
	}
	more := ""
	if unknown.Count > len(quoted) {
		more = fmt.Sprintf(" and %d more", unknown.Count-len(quoted))
	}
	return fmt.Sprintf("%d members that the client asked for are no users of the App, and were left out: %s%s.",
		unknown.Count, strings.Join(quoted, ", "), more)
}

// writeStatus writes the verdict where it says anything new, and the last write is long enough ago; otherwise it returns how
// long to wait. It has no precondition: only this controller writes the status, and what the status says of the name
// includes the key that it is about.
func (r *Reconciler) writeStatus(ctx context.Context, group *v1alpha1.Group, v *verdict) (time.Duration, error) {
	if v.fresh {
		return 0, nil
	}
	before := group.DeepCopy()
	v.apply(group)
	if apiequality.Semantic.DeepEqual(before.Status, group.Status) {
		return 0, nil
	}
	apart := statusApart
	if before.HasForeignStatus() {
		apart = 0 // until it is written anew, people read what is not so
	}
	if wait := r.written.wait(client.ObjectKeyFromObject(group), apart); wait > 0 {
		return wait, nil
	}
	patch, err := wholeStatus(group)
	if err != nil {
		return 0, err
	}
	if err := r.Client.Status().Patch(ctx, group, patch); err != nil {
		return 0, client.IgnoreNotFound(err)
	}
	r.tell(group, &before.Status)
	return 0, nil
}

// wholeStatus returns a patch that puts the status of a Group in place of all that is there, which may be another object's. The API server
// refuses it where the Group is another one by now.
func wholeStatus(group *v1alpha1.Group) (client.Patch, error) {
	patch, err := json.Marshal([]map[string]any{
		{"op": "test", "path": "/metadata/uid", "value": group.UID},
		{"op": "add", "path": "/status", "value": group.Status},
	})
	return client.RawPatch(types.JSONPatchType, patch), err
}
