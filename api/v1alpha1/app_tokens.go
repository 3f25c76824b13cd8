package v1alpha1

// AcceptedToken names one ScimToken, in the App's namespace, that opens the App.
type AcceptedToken struct {
	// name of the ScimToken.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
	// digest that the ScimToken must stand for: sha256: and 64 hexadecimal digits. A ScimToken that holds a digest is
	// accepted only with it. Empty for one with secretRef or generate: any token that its Secret holds.
	// +optional
	// +kubebuilder:validation:Pattern=`^sha256:[0-9a-f]{64}$`
	Digest string `json:"digest,omitempty"`
	// scopes bound what the token may ask for, whatever the ScimToken says: read, users, groups, as in ScimToken.spec.scopes. Empty:
	// what the ScimToken says.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=3
	Scopes []TokenScope `json:"scopes,omitempty"`
}

// TokenScope is one part of what a token may ask for. Discovery documents need none.
// +kubebuilder:validation:Enum=read;users;groups
type TokenScope string

const (
	// TokenScopeRead reads users and groups.
	TokenScopeRead TokenScope = "read"
	// TokenScopeUsers reads and writes users.
	TokenScopeUsers TokenScope = "users"
	// TokenScopeGroups reads and writes groups.
	TokenScopeGroups TokenScope = "groups"
)

// TokenType says what a ScimToken is for.
type TokenType string

const (
	// TokenTypeBearer opens an App that lists it; so does a ScimToken without a type.
	TokenTypeBearer TokenType = "Bearer"
	// TokenTypeClientSecret is the secret of an App's OAuth client.
	TokenTypeClientSecret TokenType = "ClientSecret"
	// TokenTypeAccess is an access token that the server issued.
	TokenTypeAccess TokenType = "AccessToken"
	// TokenTypeRefresh is a refresh token that the server issued.
	TokenTypeRefresh TokenType = "RefreshToken"
)
