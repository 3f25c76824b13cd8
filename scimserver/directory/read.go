package directory

import (
	"cmp"
	"context"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/claims"
	"github.com/scim-operator/scim-operator/internal/names"
	"github.com/scim-operator/scim-operator/scimserver/protocol"
)

// GetUser returns the App's user with the id: one live read. Errors are 404 where there is no such user, where it belongs to
// another App, where it is being deleted, and where its name's claim does not name it; and *UnavailableError.
func (d *Directory) GetUser(ctx context.Context, app *v1alpha1.App, id string) (*v1alpha1.User, error) {
	user, err := d.readUser(ctx, app, id)
	if err != nil {
		return nil, asClientSees(err)
	}
	if user == nil {
		return nil, errNotFound(id)
	}
	return user, nil
}

// readUser is GetUser, with nil for what a client does not see.
func (d *Directory) readUser(ctx context.Context, app *v1alpha1.App, id string) (*v1alpha1.User, error) {
	user, err := d.liveUser(ctx, app, id)
	if err != nil || user == nil {
		return nil, err
	}
	effective, err := d.effective(ctx, user)
	if err != nil || !effective {
		return nil, err
	}
	return user, nil
}

// liveUser reads one User of the App that is not being deleted, effective or not; nil where there is none.
func (d *Directory) liveUser(ctx context.Context, app *v1alpha1.App, id string) (*v1alpha1.User, error) {
	if len(validation.IsDNS1123Subdomain(id)) > 0 {
		return nil, nil // no object can have this name
	}
	user := &v1alpha1.User{}
	err := d.live.Get(ctx, client.ObjectKey{Namespace: app.Namespace, Name: id}, user)
	if apierrors.IsNotFound(err) || err == nil && (user.Spec.App != app.Name || user.DeletionTimestamp != nil) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return user, nil
}

// effective says whether the claim of the user's name names it. Once it does, it does as long as the user has the name,
// so an earlier look, by the controller or by this process, saves a read.
func (d *Directory) effective(ctx context.Context, user *v1alpha1.User) (bool, error) {
	if user.IsNameReserved() {
		return true, nil
	}
	name := types.NamespacedName{Namespace: user.Namespace, Name: user.Name}
	if entry := d.users.get(name); entry != nil && entry.uid == user.UID && entry.verified && entry.key == user.Spec.UserNameKey {
		return true, nil
	}
	named, err := d.claims(user.Namespace).Verify(ctx, user.Spec.App, v1alpha1.ClaimUserName, user.Spec.UserNameKey, user.Name)
	if named {
		d.wrote(user)
	}
	return named, err
}

// FindByUserName returns the App's user with the userName, in any letter case; none or one. It is exact at the time of the
// call on every replica: one live read of the user that the read model proposes, or else of the claim. Where the App's
// spec.identifier is another attribute, it also finds the user with the value as identifier: Okta asks by userName then,
// too. The error is *UnavailableError where the API server cannot be read.
func (d *Directory) FindByUserName(ctx context.Context, app *v1alpha1.App, userName string) ([]*v1alpha1.User, error) {
	user, err := d.readByKey(ctx, app, claims.Key(userName))
	if err == nil && user == nil && slices.Contains(claims.OtherNames(app), app.Spec.Identifier) {
		user, err = d.readByIdentifier(ctx, app, userName)
	}
	return found(user), asClientSees(err)
}

// readByIdentifier returns the user with the value as identifier: the holder of its claim, else the first that the read
// model proposes, because the controller may not have made the claim yet.
func (d *Directory) readByIdentifier(ctx context.Context, app *v1alpha1.App, value string) (*v1alpha1.User, error) {
	attribute := app.Spec.Identifier
	key, proposed := value, d.users.byExternalID(appName(app), value)
	if attribute == v1alpha1.ClaimEmail {
		key = claims.Key(value)
		proposed = d.users.byEmail(appName(app), key)
	}
	matches := func(user *v1alpha1.User) bool { return claims.KeyBy(attribute, &user.Spec) == key }
	owner, err := claims.ForUsersBy(d.live, app.Namespace, attribute).Owner(ctx, app.Name, key)
	if err != nil {
		return nil, err
	}
	if owner != "" {
		user, err := d.readUser(ctx, app, owner)
		if err != nil || user != nil && matches(user) {
			return user, err
		}
	}
	users, err := d.confirm(ctx, app, proposed, matches)
	if err != nil || len(users) == 0 {
		return nil, err
	}
	return users[0], nil
}

func (d *Directory) readByKey(ctx context.Context, app *v1alpha1.App, key string) (*v1alpha1.User, error) {
	if entry := d.users.byKey(appName(app), key); entry != nil {
		user, err := d.readUser(ctx, app, entry.id)
		if err != nil || user != nil && user.Spec.UserNameKey == key {
			return user, err
		}
	}
	owner, err := d.claims(app.Namespace).Owner(ctx, app.Name, key)
	if err != nil || owner == "" {
		return nil, err
	}
	user, err := d.liveUser(ctx, app, owner)
	if err != nil || user == nil || user.Spec.UserNameKey != key {
		return nil, err
	}
	return user, nil
}

// FindByExternalID returns the App's users with the externalId, which is compared exactly. The read model proposes, live
// objects confirm: a user that another replica wrote a moment ago can be missing. The error is *UnavailableError where the API
// server cannot be read.
func (d *Directory) FindByExternalID(ctx context.Context, app *v1alpha1.App, externalID string) ([]*v1alpha1.User, error) {
	return d.confirm(ctx, app, d.users.byExternalID(appName(app), externalID), func(user *v1alpha1.User) bool {
		return user.Spec.ExternalID == externalID
	})
}

// FindByEmail returns the App's users with the address, in any letter case, under the same terms and with the same errors as
// FindByExternalID.
func (d *Directory) FindByEmail(ctx context.Context, app *v1alpha1.App, email string) ([]*v1alpha1.User, error) {
	key := names.Fold(email)
	return d.confirm(ctx, app, d.users.byEmail(appName(app), key), func(user *v1alpha1.User) bool {
		return slices.Contains(emails(user), key)
	})
}

func (d *Directory) confirm(ctx context.Context, app *v1alpha1.App, proposed []*Entry, matches func(*v1alpha1.User) bool) ([]*v1alpha1.User, error) {
	var confirmed []*v1alpha1.User
	for _, entry := range proposed {
		user, err := d.readUser(ctx, app, entry.id)
		if err != nil {
			return nil, asClientSees(err)
		}
		if user != nil && matches(user) {
			confirmed = append(confirmed, user)
		}
	}
	slices.SortFunc(confirmed, inOrder)
	return confirmed, nil
}

// Find returns the App's users that a bound filter matches, each once, in the order of creation. A filter that asks for
// userName, id, externalId or an address is answered by live reads as the functions above say; any other by the read model,
// user by user. baseURL is what meta.location begins with. It fails with *UnavailableError where the API server cannot be read,
// with the end of ctx, and where a user cannot be rendered.
func (d *Directory) Find(ctx context.Context, app *v1alpha1.App, filter *protocol.Filter, baseURL string) ([]*Entry, error) {
	matches := d.matcher(app, filter, baseURL)
	lookups, exact := filter.Lookups()
	if lookups == nil {
		return d.scan(ctx, app, matches)
	}
	var all []*Entry
	for _, lookup := range lookups {
		some, err := d.lookUp(ctx, app, lookup)
		if err != nil {
			return nil, err
		}
		all = append(all, some...)
	}
	slices.SortFunc(all, (*Entry).compare)
	all = slices.CompactFunc(all, func(a, b *Entry) bool { return a.id == b.id })
	if exact {
		return all, nil
	}
	var matching []*Entry
	step := pace(ctx)
	for _, entry := range all {
		if err := step(); err != nil {
			return nil, err
		}
		match, err := matches(entry)
		if err != nil {
			return nil, err
		}
		if match {
			matching = append(matching, entry)
		}
	}
	return matching, nil
}

// scan looks at every user of the App, at the pace of ctx.
func (d *Directory) scan(ctx context.Context, app *v1alpha1.App, matches func(*Entry) (bool, error)) (matching []*Entry, err error) {
	step := pace(ctx)
	d.Scan(app, func(entry *Entry) bool {
		if err = step(); err != nil {
			return false
		}
		var match bool
		if match, err = matches(entry); match {
			matching = append(matching, entry)
		}
		return err == nil
	})
	return matching, err
}

// matcher evaluates a bound filter over one entry after the other: over what it asks for in their JSON, or, where that
// does not have all, over the whole user.
func (d *Directory) matcher(app *v1alpha1.App, filter *protocol.Filter, baseURL string) func(*Entry) (bool, error) {
	if scanner, ok := filter.Scanner(); ok {
		return func(entry *Entry) (bool, error) {
			if err := entry.problem(); err != nil {
				return false, err
			}
			return scanner.Matches(entry.body), nil
		}
	}
	return func(entry *Entry) (bool, error) {
		attributes, err := d.Complete(app, baseURL, entry)
		return err == nil && filter.Matches(attributes), err
	}
}

func (d *Directory) lookUp(ctx context.Context, app *v1alpha1.App, lookup protocol.Lookup) ([]*Entry, error) {
	var users []*v1alpha1.User
	var err error
	switch lookup.Attribute {
	case "userName":
		users, err = d.FindByUserName(ctx, app, lookup.Value)
	case "externalId":
		users, err = d.FindByExternalID(ctx, app, lookup.Value)
	case "emails.value":
		users, err = d.FindByEmail(ctx, app, lookup.Value)
	case "groups.value":
		return d.usersIn(app, lookup.Value), nil
	default: // id
		var user *v1alpha1.User
		user, err = d.readUser(ctx, app, lookup.Value)
		users, err = found(user), asClientSees(err)
	}
	entries := make([]*Entry, len(users))
	for i, user := range users {
		entries[i] = newEntry(user)
	}
	return entries, err
}

func found(user *v1alpha1.User) []*v1alpha1.User {
	if user == nil {
		return nil
	}
	return []*v1alpha1.User{user}
}

func inOrder(a, b *v1alpha1.User) int {
	return cmp.Or(createdAt(a).Compare(createdAt(b)), cmp.Compare(a.Name, b.Name))
}
