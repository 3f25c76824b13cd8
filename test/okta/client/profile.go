package okta

import (
	"crypto/rand"
	"fmt"
	"math/big"
	"strings"
)

// Profile is an app user's profile as Okta's default attribute mappings send it.
type Profile struct {
	UserName, GivenName, FamilyName string
	Email, EmailType                string
	// DisplayName and Locale are left out where they are empty: an administrator has deleted the mapping.
	DisplayName, Locale string
	// ExternalID is the person's id in Okta.
	ExternalID string
	// Custom holds mapped custom attributes: names at top level, or URNs with an Object of attributes.
	Custom Object
}

// NewProfile returns the profile of a person with an email address of the form first.last@domain as userName.
func NewProfile(userName string) Profile {
	local, _, _ := strings.Cut(userName, "@")
	given, family, found := strings.Cut(local, ".")
	if !found {
		family = "Person"
	}
	given, family = capitalise(given), capitalise(family)
	return Profile{
		UserName: userName, GivenName: given, FamilyName: family,
		Email: userName, EmailType: "work",
		DisplayName: given + " " + family, Locale: "en-US",
		ExternalID: "00u" + randomText(17, lettersAndDigits),
	}
}

func capitalise(text string) string {
	if text == "" {
		return "X"
	}
	return strings.ToUpper(text[:1]) + text[1:]
}

const (
	lettersAndDigits   = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	passwordCharacters = lettersAndDigits + "^&#<>"
)

func randomText(length int, alphabet string) string {
	text := make([]byte, length)
	for i := range text {
		n, err := rand.Int(rand.Reader, big.NewInt(int64(len(alphabet))))
		if err != nil {
			panic(fmt.Sprintf("no random numbers: %v", err))
		}
		text[i] = alphabet[n.Int64()]
	}
	return string(text)
}

// NewPassword returns a random password as Okta makes one for every user it creates, but longer, so that a search for
// it finds nothing else.
func NewPassword() string { return "Pw" + randomText(18, passwordCharacters) }

func (p Profile) emails() []any {
	return []any{Object{{"primary", true}, {"value", p.Email}, {"type", p.EmailType}}}
}

// schemas lists the core schema and the URN of every extension with a value. Spellings of the core schema's own URN are
// no extensions.
func (p Profile) schemas() []any {
	schemas := []any{SchemaUser}
	for _, member := range p.Custom {
		if strings.HasPrefix(member.Name, "urn:") && !strings.HasPrefix(strings.ToLower(member.Name), "urn:ietf:params:scim:schemas:core:2.0") {
			schemas = append(schemas, member.Name)
		}
	}
	return schemas
}

// attributes are what Okta manages of a user, keys in its order.
func (p Profile) attributes() Object {
	body := Object{
		{"userName", p.UserName},
		{"name", Object{{"givenName", p.GivenName}, {"familyName", p.FamilyName}}},
		{"emails", p.emails()},
	}
	if p.DisplayName != "" {
		body.Set("displayName", p.DisplayName)
	}
	if p.Locale != "" {
		body.Set("locale", p.Locale)
	}
	body.Merge(p.Custom)
	if p.ExternalID != "" {
		body.Set("externalId", p.ExternalID)
	}
	return body
}

// CreateBody is the body of the POST, keys in Okta's order. The password is always there, also with password
// synchronisation off.
func (p Profile) CreateBody(password string) Object {
	body := append(Object{{"schemas", p.schemas()}}, p.attributes()...)
	body.Set("groups", []any{})
	if password != "" {
		body.Set("password", password)
	}
	body.Set("active", true)
	return body
}

// Overlay puts the profile onto a user as it was fetched: what Okta does not manage goes back as it came.
func (p Profile) Overlay(fetched Object, active bool) Object {
	body := append(Object(nil), fetched...)
	schemas, _ := body.Get("schemas").([]any)
	schemas = append([]any(nil), schemas...)
	for _, schema := range p.schemas() {
		if !contains(schemas, schema) {
			schemas = append(schemas, schema)
		}
	}
	body.Set("schemas", schemas)
	body.Set("userName", p.UserName)
	body.Merge(Object{{"name", Object{{"givenName", p.GivenName}, {"familyName", p.FamilyName}}}})
	body.Set("emails", p.overlayEmails(body.Get("emails")))
	if p.DisplayName != "" {
		body.Set("displayName", p.DisplayName)
	}
	if p.Locale != "" {
		body.Set("locale", p.Locale)
	}
	body.Merge(p.Custom)
	if p.ExternalID != "" {
		body.Set("externalId", p.ExternalID)
	}
	body.Set("active", active)
	return body
}

// overlayEmails replaces the primary address and leaves others.
func (p Profile) overlayEmails(fetched any) []any {
	list, _ := fetched.([]any)
	emails := p.emails()
	for _, element := range list {
		if email, _ := element.(Object); email.Get("primary") != true {
			emails = append(emails, element)
		}
	}
	return emails
}

// patchValue is the value of a path-less PATCH that pushes the profile; it repeats the user's id.
func (p Profile) patchValue(id string, active bool) Object {
	value := append(Object{{"id", id}}, p.attributes()...)
	value.Set("active", active)
	return value
}

func contains(list []any, wanted any) bool {
	for _, element := range list {
		if element == wanted {
			return true
		}
	}
	return false
}
