package v1alpha1

import (
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

// Defaults that hold where a field is absent, also for objects that were written before the schema had them.
const (
	DefaultUsernamePrefix = "okta:"
	DefaultGroupPrefix    = "okta:"
	DefaultConfirmWithin  = 2 * time.Second
	DefaultScope          = "default"

	ModeEnforce = "Enforce"
	ModeObserve = "Observe"

	SubjectModeUsers = "Users"
	SubjectModeGroup = "Group"

	DeletionPolicyRetain = "Retain"
	DeletionPolicyDelete = "Delete"

	IdentifierUserName   = "userName"
	IdentifierEmail      = "email"
	IdentifierExternalID = "externalId"
)

// RoleRef returns the native role that the grant names.
func (g Grant) RoleRef() rbacv1.RoleRef {
	if g.ClusterRole != "" {
		return rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: g.ClusterRole}
	}
	return rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: g.Role}
}

// ImportsUsers says whether the client may list users.
func (p Provisioning) ImportsUsers() bool { return isOn(p.ImportUsers) }

// CreatesUsers says whether the client may create users.
func (p Provisioning) CreatesUsers() bool { return isOn(p.CreateUsers) }

// UpdatesUsers says whether the client may change users.
func (p Provisioning) UpdatesUsers() bool { return isOn(p.UpdateUsers) }

// DeactivatesUsers says whether the client may deactivate and delete users.
func (p Provisioning) DeactivatesUsers() bool { return isOn(p.DeactivateUsers) }

// PushesGroups says whether the client may push groups.
func (p Provisioning) PushesGroups() bool { return isOn(p.PushGroups) }

func isOn(value *bool) bool { return value == nil || *value }

// Prefix put before every Kubernetes user name.
func (k KubernetesMapping) Prefix() string {
	if k.UsernamePrefix == nil {
		return DefaultUsernamePrefix
	}
	return *k.UsernamePrefix
}

// The limits of an App that sets none.
const (
	DefaultRequestsPerSecond = 50
	DefaultBurstSeconds      = 2
)

// Rate returns the requests that are taken in a second, and those that are taken at once after a pause.
func (l Limits) Rate() (perSecond, burst int) {
	perSecond = int(ptr.Deref(l.RequestsPerSecond, DefaultRequestsPerSecond))
	return perSecond, int(ptr.Deref(l.Burst, int32(DefaultBurstSeconds*perSecond)))
}

// PrefixOfGroups is put before every group's name.
func (k KubernetesMapping) PrefixOfGroups() string {
	if k.GroupPrefix == nil {
		return DefaultGroupPrefix
	}
	return *k.GroupPrefix
}

// Username returns the RBAC subject of a user: the prefix and the mapped attribute in its exact case, or "" where the
// user has no such attribute.
func (k KubernetesMapping) Username(user *UserSpec) string {
	var value string
	switch k.UsernameFrom {
	case IdentifierEmail:
		value = user.PrimaryEmail()
	case IdentifierExternalID:
		value = user.ExternalID
	default:
		value = user.UserName
	}
	if value == "" {
		return ""
	}
	return k.Prefix() + value
}

// PrimaryEmail returns the email marked primary, else the first one, else "".
func (s *UserSpec) PrimaryEmail() string {
	for _, email := range s.Emails {
		if email.Primary {
			return email.Value
		}
	}
	if len(s.Emails) > 0 {
		return s.Emails[0].Value
	}
	return ""
}

// ModifiedAt is when a client last changed the user, its creation included; nil where that is not known.
func (s *UserSpec) ModifiedAt() *metav1.MicroTime {
	if s.LastModified != nil {
		return s.LastModified
	}
	return s.CreatedAt
}

// MayHaveAccess says whether the person is active, not suspended in the cluster and not being deleted. It says nothing
// about the claim of the name, without which there is no access either.
func (u *User) MayHaveAccess() bool {
	return u.Spec.Active && !u.Spec.Suspended && u.DeletionTimestamp.IsZero()
}

// IsNameReserved says whether the controller has verified the claim of the user's present name: reservedKey is the key, and no
// condition says otherwise.
func (u *User) IsNameReserved() bool {
	reserved := meta.FindStatusCondition(u.Status.Conditions, ConditionNameReserved)
	return u.Spec.UserNameKey != "" && u.Spec.UserNameKey == u.Status.ReservedKey &&
		(reserved == nil || reserved.Status == metav1.ConditionTrue)
}

// IsNameReserved says whether the controller has verified the claim of the group's present name.
func (g *Group) IsNameReserved() bool {
	return g.Spec.DisplayNameKey != "" && g.Spec.DisplayNameKey == g.Status.ReservedKey &&
		meta.IsStatusConditionTrue(g.Status.Conditions, ConditionNameReserved)
}

// Confirmation is how long the answer to a deactivation waits for the access to be gone.
func (d Deactivation) Confirmation() time.Duration {
	if d.ConfirmWithin == nil {
		return DefaultConfirmWithin
	}
	return d.ConfirmWithin.Duration
}

// IsRevocationSettled says whether, by its AccessRevoked condition, the controller has taken everything that the User gave.
// The condition is True, or names what outlasts that: a group, or another User of the same Kubernetes name.
func IsRevocationSettled(revocation *metav1.Condition) bool {
	return revocation != nil && (revocation.Status == metav1.ConditionTrue ||
		revocation.Reason == ReasonBoundByGroup || revocation.Reason == ReasonBoundByOther)
}
