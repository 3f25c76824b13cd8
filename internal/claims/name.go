package claims

import "github.com/scim-operator/scim-operator/internal/names"

// Name returns the object name of the claim that reserves a key of one attribute of one App: 52 characters.
func Name(app, attribute, key string) string {
	return names.Hash(app, attribute, key)
}

// Key folds a name for comparison (RFC 7643 section 2.2: userName and displayName are not case-exact).
func Key(value string) string {
	return names.Fold(value)
}
