package v1alpha1

// Condition types. Ready is the summary of every kind, as kstatus, Flux and Argo CD read it; it carries the generation that it speaks
// of, but on Users: there it speaks of status.observedGeneration, by which those tools and kubectl wait go, too.
const (
	// ConditionReady summarises the object: an App can grant what it says, a User has the access it earned (or,
	// inactive, has none), a ScimToken is as its specification asks for, an AppRoleBinding's native bindings are in place.
	ConditionReady = "Ready"

	// ConditionReconciling is True while work that Ready waits for is under way (kstatus).
	ConditionReconciling = "Reconciling"

	// ConditionNameReserved says of a User or Group whether the NameClaim of its name names it. Nothing is granted
	// while it does not. A User has the condition only where its claim is missing or names another user: otherwise
	// status.reservedKey is spec.userNameKey.
	ConditionNameReserved = "NameReserved"

	// ConditionAccessGranted says of a User whether every role it earned is bound.
	ConditionAccessGranted = "AccessGranted"

	// ConditionAccessRevoked says of a User, once it is inactive, suspended or deleted, that none of this operator's bindings, of
	// whatever App, names its Kubernetes user any more. A user that may have access does not have the condition.
	ConditionAccessRevoked = "AccessRevoked"

	// ConditionMembersKnown says of a Group whether every member that the client asked for is a user of the App. It
	// counts and names those that are not and were left out.
	ConditionMembersKnown = "MembersKnown"

	// ConditionScopesFound says of an App whether each of its scopes has a namespace.
	ConditionScopesFound = "ScopesFound"

	// ConditionExpressionsEvaluated says of an App with expressions whether each had a result for each user. One that failed,
	// or cost more than the budget of one user, earns nothing.
	ConditionExpressionsEvaluated = "ExpressionsEvaluated"

	// ConditionRevocationsListed is False on an App while its RevocationList has no room for all leavers of a day.
	ConditionRevocationsListed = "RevocationsListed"

	// ConditionExternalURLSet says of an App whether it fixes the URL that begins meta.location. Otherwise the server does, or
	// each request's Host. It is no part of Ready.
	ConditionExternalURLSet = "ExternalURLSet"

	// ConditionIssuerReachable says of an App with spec.oidc whether a server could read the issuer's keys, as the last one that tried
	// says; Unknown where none has told for an hour. It is no part of Ready: ScimTokens open the App all the same.
	ConditionIssuerReachable = "IssuerReachable"

	// ConditionClientKeysRead says of an App with spec.oauth.machineClients whether each of their keys can be read and used.
	ConditionClientKeysRead = "ClientKeysRead"

	// ConditionRemovalsHeld is True on an App while spec.safety holds removals of roles.
	ConditionRemovalsHeld = "RemovalsHeld"

	// ConditionPoliciesInPlace is False on an App while the cluster lacks admission policies of this version, or has others in their
	// place. It is no part of Ready: the App goes on granting and revoking. Other Apps do not have it.
	ConditionPoliciesInPlace = "PoliciesInPlace"

	// ConditionDefinitionsInPlace is False on an App while the cluster lacks CustomResourceDefinitions of this version, or has others in
	// their place. It is no part of Ready. Other Apps do not have it.
	ConditionDefinitionsInPlace = "DefinitionsInPlace"

	// ConditionResidualAccess is True on a User with revoked access that bindings by other hands, or of another User of
	// the same Kubernetes name, still name.
	ConditionResidualAccess = "ResidualAccess"

	// ConditionAccessEnding is True on a User with roles that end within seven days. Other users do not have it.
	ConditionAccessEnding = "AccessEnding"

	// ConditionAccessEnded is True on a User that would hold roles if their time were not over. Other users do not have it.
	ConditionAccessEnded = "AccessEnded"

	// ConditionAccepted says of a ScimToken whether it opens its App now.
	ConditionAccepted = "Accepted"

	// ConditionExpiring is True on a ScimToken that expires within 30 days.
	ConditionExpiring = "Expiring"

	// ConditionRotating is True on a ScimToken while both its newest token and the former one are accepted.
	ConditionRotating = "Rotating"

	// ConditionExpired is True on a ScimToken after its spec.expiresAt.
	ConditionExpired = "Expired"
	// ConditionActive of an OAuthGrant says whether tokens issued for it are accepted.
	ConditionActive = "Active"
	// ConditionReplayed is True on an OAuthGrant of a machine client for a day after a JWT of it was shown a second time.
	ConditionReplayed = "Replayed"
)

// Condition reasons.
const (
	ReasonReady          = "Ready"
	ReasonInvalidSpec    = "InvalidSpec"
	ReasonAppNotFound    = "AppNotFound"
	ReasonAppNotReady    = "AppNotReady"
	ReasonNameReserved   = "NameReserved"
	ReasonNameTaken      = "NameTaken"
	ReasonNameNotClaimed = "NameNotClaimed"
	ReasonInvalidSubject = "InvalidSubject"
	// ReasonKubernetesNameTaken says that another user of the App holds the user's Kubernetes name.
	ReasonKubernetesNameTaken = "KubernetesNameTaken"
	ReasonMissingScope        = "MissingScope"
	// ReasonRoleNotFound says of an App that a native role which it grants does not exist, and of a User that it holds such a ClusterRole.
	ReasonRoleNotFound = "RoleNotFound"
	// ReasonProtectedNamespace says of an App that a selector takes in kube-system or the operator's own namespace, where nothing
	// is bound unless the App names them.
	ReasonProtectedNamespace = "ProtectedNamespace"
	ReasonUnknownRole        = "UnknownRole"
	// ReasonRoleNotGranted says of a User that it earned a role with an untilAttribute that tells no end.
	ReasonRoleNotGranted = "RoleNotGranted"
	// ReasonEndsSoon and ReasonRolesEnded are those of AccessEnding and AccessEnded.
	ReasonEndsSoon      = "EndsSoon"
	ReasonRolesEnded    = "RolesEnded"
	ReasonNoRole        = "NoRole"
	ReasonGranted       = "Granted"
	ReasonObserved      = "Observed"
	ReasonBindingFailed = "BindingFailed"
	ReasonForbidden     = "Forbidden"
	ReasonProgressing   = "Progressing"
	// ReasonKeysRead and ReasonKeysNotRead are those of IssuerReachable and ClientKeysRead; ReasonNotChecked says that no server has told.
	ReasonKeysRead    = "KeysRead"
	ReasonKeysNotRead = "KeysNotRead"
	ReasonNotChecked  = "NotChecked"
	// ReasonActive says of a user that it is neither inactive nor suspended. Statuses written by an earlier version have it as the
	// reason of AccessRevoked=False.
	ReasonActive          = "Active"
	ReasonInactive        = "Inactive"
	ReasonSuspended       = "Suspended"
	ReasonDeleted         = "Deleted"
	ReasonRevoked         = "Revoked"
	ReasonSecretNotFound  = "SecretNotFound"
	ReasonInvalidToken    = "InvalidToken"
	ReasonExpired         = "Expired"
	ReasonNotYetValid     = "NotYetValid"
	ReasonValid           = "Valid"
	ReasonMembersKnown    = "MembersKnown"
	ReasonMembersUnknown  = "MembersUnknown"
	ReasonScopesFound     = "ScopesFound"
	ReasonTooManyRemovals = "TooManyRemovals"
	ReasonNoneHeld        = "NoneHeld"
	ReasonOtherBindings   = "OtherBindings"
	ReasonNoOtherBindings = "NoOtherBindings"
	ReasonBoundByGroup    = "BoundByGroup"
	// ReasonBoundByOther says that a binding of another User of the same Kubernetes name outlasts the user's own.
	ReasonBoundByOther = "BoundByOtherUser"
)

const (
	// LabelManagedBy marks what this operator owns whole; its value is ManagedByValue.
	LabelManagedBy = "app.kubernetes.io/managed-by"
	// ManagedByValue is the value of LabelManagedBy.
	ManagedByValue = "scim-operator"

	// LabelApp names the App of an object.
	LabelApp = GroupName + "/app"
	// LabelAppNamespace names the namespace of the App of an object outside it.
	LabelAppNamespace = GroupName + "/app-namespace"
	// LabelRole names the role of an AppRoleBinding and its native bindings.
	LabelRole = GroupName + "/role"
	// LabelScope names their scope.
	LabelScope = GroupName + "/scope"
	// LabelGroup names the Group of a MemberShard.
	LabelGroup = GroupName + "/group"
	// LabelGrant names the OAuthGrant of an issued ScimToken.
	LabelGrant = GroupName + "/oauth-grant"
	// LabelEpoch names the epoch of its sharding.
	LabelEpoch = GroupName + "/epoch"
	// AnnotationUnreadable is on an App in the memory of a process that could not decode all of it, and says what. The App grants
	// nothing new until that is mended.
	AnnotationUnreadable = GroupName + "/unreadable"
	// AnnotationUnknownMembers of a Group tells, as JSON, which members the client asked for that are no users of the
	// App: {"count": 12, "ids": ["…"]}, ten ids at most. The next push of all members that has none of them clears it.
	AnnotationUnknownMembers = GroupName + "/unknown-members"
	// AnnotationReleaseRemovals of an App releases the removals that spec.safety holds, once for each new value.
	AnnotationReleaseRemovals = GroupName + "/release-removals"
	// AnnotationGeneratedFor of a Secret names the ScimToken that it was made for.
	AnnotationGeneratedFor = GroupName + "/generated-for"
	// AnnotationTokenSerial of a Secret counts the tokens that were made for its ScimToken; absent: 1.
	AnnotationTokenSerial = GroupName + "/token-serial"
	// AnnotationTokenMadeAt of a Secret is when its token was made, as RFC 3339; absent: when the Secret was.
	AnnotationTokenMadeAt = GroupName + "/token-made-at"
	// AnnotationRotateToken of a ScimToken with spec.rotation has the next token made now, once for each new value; while the former
	// token is accepted, when that ends. On a Secret it stands for the value that its token was made for.
	AnnotationRotateToken = GroupName + "/rotate-token"
	// AnnotationAllowDeletion with the value "true" on one of this operator's CustomResourceDefinitions lets it be deleted.
	AnnotationAllowDeletion = GroupName + "/allow-deletion"
	// AnnotationDeletedBy of a User or Group is the id of the SCIM request that deletes it, and when that came, as RFC 3339, with a
	// space between.
	AnnotationDeletedBy = GroupName + "/deleted-by"
	// AnnotationWrittenAt of a MemberShard is the generation that its Group had when the shard was last written.
	AnnotationWrittenAt = GroupName + "/written-at-generation"
	// LabelBinding names the AppRoleBinding that a native binding was made from.
	LabelBinding = GroupName + "/binding"

	// FinalizerAccess holds a deleted User until none of this operator's bindings names it.
	FinalizerAccess = GroupName + "/access"
	// FinalizerApp holds a deleted App with deletionPolicy Delete until its users and groups are gone.
	FinalizerApp = GroupName + "/app"
	// FinalizerBindings holds a deleted AppRoleBinding until its native bindings are gone, in whatever namespace.
	FinalizerBindings = GroupName + "/bindings"
)
