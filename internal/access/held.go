package access

import (
	"slices"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// ReasonHeld is the reason of a role that spec.safety keeps though the user does not earn it any more. The next evaluation
// knows by it, also after a restart, what is held.
const ReasonHeld = "held by the App's spec.safety: not earned any more"

// IsHeld says whether spec.safety keeps a role.
func IsHeld(role v1alpha1.EarnedRole) bool { return slices.Contains(role.Reasons, ReasonHeld) }
