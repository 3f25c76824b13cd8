package directory

import (
	"context"
	"slices"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/claims"
	"github.com/scim-operator/scim-operator/internal/names"
	"github.com/scim-operator/scim-operator/scimserver/protocol"
)

// FindByUserName returns the App's user with the userName, in any letter case; none or one. It is exact at the time of the
// call on every replica: one live read of the user that the read model proposes, or else of the claim. Where the App's
// spec.identifier is another attribute, it also finds the user with the value as identifier: Okta asks by userName then,
// too. The error is *UnavailableError where the API server cannot be read.
func (u *Users) FindByUserName(ctx context.Context, app *v1alpha1.App, userName string) ([]*v1alpha1.User, error) {
	user, err := u.readByKey(ctx, appName(app), claims.Key(userName))
	if err == nil && user == nil && slices.Contains(claims.OtherNames(app), app.Spec.Identifier) {
		user, err = u.readByIdentifier(ctx, app, userName)
	}
	return found(user), asClientSees(err)
}

// readByIdentifier returns the user with the value as identifier: the holder of its claim, else the first that the read
// model proposes, because the controller may not have made the claim yet.
func (u *Users) readByIdentifier(ctx context.Context, app *v1alpha1.App, value string) (*v1alpha1.User, error) {
	attribute := app.Spec.Identifier
	key, proposed := value, u.model.byExternalID(appName(app), value)
	if attribute == v1alpha1.ClaimEmail {
		key = claims.Key(value)
		proposed = u.model.byEmail(appName(app), key)
	}
	matches := func(user *v1alpha1.User) bool { return claims.KeyBy(attribute, &user.Spec) == key }
	owner, err := claims.ForUsersBy(u.live, app.Namespace, attribute).Owner(ctx, app.Name, key)
	if err != nil {
		return nil, err
	}
	if owner != "" {
		user, err := u.read(ctx, appName(app), owner)
		if err != nil || user != nil && matches(user) {
			return user, err
		}
	}
	users, err := u.confirm(ctx, appName(app), proposed, matches)
	if err != nil || len(users) == 0 {
		return nil, err
	}
	return users[0], nil
}

// FindByExternalID returns the App's users with the externalId, which is compared exactly. The read model proposes, live
// objects confirm: a user that another replica wrote a moment ago can be missing. The error is *UnavailableError where the API
// server cannot be read.
func (u *Users) FindByExternalID(ctx context.Context, app *v1alpha1.App, externalID string) ([]*v1alpha1.User, error) {
	return u.confirm(ctx, appName(app), u.model.byExternalID(appName(app), externalID), func(user *v1alpha1.User) bool {
		return user.Spec.ExternalID == externalID
	})
}

// FindByEmail returns the App's users with the address, in any letter case, under the same terms and with the same errors as
// FindByExternalID.
func (u *Users) FindByEmail(ctx context.Context, app *v1alpha1.App, email string) ([]*v1alpha1.User, error) {
	key := names.Fold(email)
	return u.confirm(ctx, appName(app), u.model.byEmail(appName(app), key), func(user *v1alpha1.User) bool {
		return slices.Contains(emails(user), key)
	})
}

// Find returns the App's users that a bound filter matches, each once, in the order of creation. A filter that asks for
// userName, id, externalId or an address is answered by live reads as the functions above say; any other by the read model,
// user by user. baseURL is what meta.location begins with. It fails with *UnavailableError where the API server cannot be read,
// with the end of ctx, and where a user cannot be rendered.
func (u *Users) Find(ctx context.Context, app *v1alpha1.App, filter *protocol.Filter, baseURL string) ([]*Entry, error) {
	matches := u.matcher(app, filter, baseURL)
	return search[*Entry]{
		scan:     func(visit func(*Entry) bool) { u.Scan(app, visit) },
		inMemory: matches, matches: matches,
		lookUp:  func(lookup protocol.Lookup) ([]*Entry, error) { return u.lookUp(ctx, app, lookup) },
		compare: compare[*Entry],
	}.find(ctx, filter)
}

// matcher evaluates a bound filter over one entry after the other: over what it asks for in their JSON, or, where that
// does not have all, over the whole user.
func (u *Users) matcher(app *v1alpha1.App, filter *protocol.Filter, baseURL string) func(*Entry) (bool, error) {
	if scanner, ok := filter.Scanner(); ok {
		return func(entry *Entry) (bool, error) {
			if err := entry.problem(); err != nil {
				return false, err
			}
			return scanner.Matches(entry.body), nil
		}
	}
	return func(entry *Entry) (bool, error) {
		attributes, err := u.Complete(app, baseURL, entry)
		return err == nil && filter.Matches(attributes), err
	}
}

func (u *Users) lookUp(ctx context.Context, app *v1alpha1.App, lookup protocol.Lookup) ([]*Entry, error) {
	var users []*v1alpha1.User
	var err error
	switch lookup.Attribute {
	case "userName":
		return u.readByUserName(ctx, app, lookup.Value)
	case "externalId":
		users, err = u.FindByExternalID(ctx, app, lookup.Value)
	case "emails.value":
		users, err = u.FindByEmail(ctx, app, lookup.Value)
	case "groups.value":
		return u.members.usersIn(appName(app), lookup.Value), nil
	default: // id
		var user *v1alpha1.User
		user, err = u.read(ctx, appName(app), lookup.Value)
		users, err = found(user), asClientSees(err)
	}
	return entriesOf(users), err
}

func found(user *v1alpha1.User) []*v1alpha1.User {
	if user == nil {
		return nil
	}
	return []*v1alpha1.User{user}
}
