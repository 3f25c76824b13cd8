package access

import (
	"crypto/sha256"
	"encoding/json"
	"slices"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// State stands for everything of an App that decides about access: two states that are equal mean the same for every user.
// The generation of an App also counts edits of its tokens and their issuer, its URL and its display names.
type State [16]byte

// StateOf returns the state of an App. Every field of the specification counts but those that neutral takes away.
func StateOf(app *v1alpha1.App) State {
	text, err := json.Marshal(struct {
		Spec     v1alpha1.AppSpec
		Deleting bool
	}{neutral(app.Spec), !app.DeletionTimestamp.IsZero()})
	if err != nil {
		panic(err) // strings, numbers and slices of them: no value of theirs fails
	}
	sum := sha256.Sum256(text)
	return State(sum[:len(State{})])
}

// Differ says whether two states of one App can mean another access for any user.
func Differ(before, after *v1alpha1.App) bool {
	if before.UID != after.UID {
		return true
	}
	return before.Generation != after.Generation && StateOf(before) != StateOf(after)
}

// neutral returns a specification without what only clients and readers see. It leaves the given one as it is.
func neutral(spec v1alpha1.AppSpec) v1alpha1.AppSpec {
	spec.DisplayName, spec.ExternalURL, spec.DeletionPolicy = "", "", ""
	spec.Tokens, spec.OIDC = nil, nil
	spec.Provisioning = v1alpha1.Provisioning{DropAttributes: spec.Provisioning.DropAttributes}
	spec.Deactivation.ConfirmWithin = nil
	spec.Attributes = slices.Clone(spec.Attributes)
	for i := range spec.Attributes {
		spec.Attributes[i].Description = ""
	}
	spec.Roles = slices.Clone(spec.Roles)
	for i := range spec.Roles {
		spec.Roles[i].DisplayName, spec.Roles[i].Description = "", ""
	}
	spec.Scopes.List = slices.Clone(spec.Scopes.List)
	for i := range spec.Scopes.List {
		spec.Scopes.List[i].DisplayName = ""
	}
	return spec
}
