package directory

import (
	"context"
	"encoding/json"
	"strings"

	"github.com/go-logr/logr"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/telemetry"
)

var unknownMembers = telemetry.Counter(telemetry.Server, "unknown_members_total",
	"Members of pushed groups that were left out because they are no users of the App.", "namespace", "app")

const (
	// unknownNamed is how many unknown members a Group names; the rest is counted. Ids are the client's: each is cut.
	unknownNamed  = 10
	unknownLength = 128
)

// known parts ids into those of visible users of the App, and the others. A push never fails for an unknown member:
// the others are left out, counted, and reported on the Group.
func (m *memberships) known(ctx context.Context, app *v1alpha1.App, ids []string) (known, unknown []string, err error) {
	names, err := m.userNames(ctx, appName(app), ids)
	if err != nil {
		return nil, nil, err
	}
	known = make([]string, 0, len(ids))
	for i, id := range ids {
		if names[i] != "" {
			known = append(known, id)
		} else {
			unknown = append(unknown, id)
		}
	}
	if len(unknown) > 0 {
		unknownMembers.WithLabelValues(app.Namespace, app.Name).Add(float64(len(unknown)))
	}
	return known, unknown, nil
}

// tellUnknown logs how many members were left out, and no ids.
func tellUnknown(ctx context.Context, app *v1alpha1.App, group string, unknown []string) {
	if len(unknown) > 0 {
		logr.FromContextOrDiscard(ctx).Info("Left members out of a group that are no users of the App",
			"namespace", app.Namespace, "app", app.Name, "group", group, "count", len(unknown))
	}
}

// noteUnknown writes into a group which ids a push left out. A push of all members that leaves none out removes an earlier
// note. It reports whether the note changed.
func noteUnknown(group *v1alpha1.Group, unknown []string, all bool) bool {
	before, noted := group.Annotations[v1alpha1.AnnotationUnknownMembers]
	if len(unknown) == 0 {
		if all && noted {
			delete(group.Annotations, v1alpha1.AnnotationUnknownMembers)
		}
		return all && noted
	}
	note := v1alpha1.UnknownMembers{Count: len(unknown)}
	for _, id := range unknown[:min(len(unknown), unknownNamed)] {
		note.IDs = append(note.IDs, strings.ToValidUTF8(id[:min(len(id), unknownLength)], "?"))
	}
	text, err := json.Marshal(note)
	if err != nil || string(text) == before {
		return false
	}
	if group.Annotations == nil {
		group.Annotations = map[string]string{}
	}
	group.Annotations[v1alpha1.AnnotationUnknownMembers] = string(text)
	return true
}
