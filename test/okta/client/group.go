package okta

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// GroupMember is a person in a pushed group, as Okta names them: the SCIM id and the userName.
type GroupMember struct{ ID, UserName string }

// PushedGroup is what Okta keeps of a group that it pushes.
type PushedGroup struct {
	Name string
	// Members are the people that are assigned to the app; Okta leaves others out.
	Members []GroupMember
	// ID is the SCIM id, known once the group was pushed or linked.
	ID string
}

// MemberOf names an assigned person as a member.
func MemberOf(a *Assignment) GroupMember { return GroupMember{ID: a.ID, UserName: a.Profile.UserName} }

func memberValues(members []GroupMember) []any {
	values := make([]any, len(members))
	for i, member := range members {
		values[i] = Object{{"value", member.ID}, {"display", member.UserName}}
	}
	return values
}

// PushGroup is the first push: a look-up by displayName, then POST, then the members once more. Where the look-up finds a
// group, Okta links it and pushes to that. Errors are those of Do.
func (c *Client) PushGroup(ctx context.Context, g *PushedGroup) (Conversation, error) {
	talk := c.begin(ctx)
	err := talk.firstPush(g)
	return talk.exchanges, err
}

func (c *conversation) firstPush(g *PushedGroup) error {
	list, err := c.send(http.MethodGet, "/Groups"+FilterQuery(Equals("displayName", g.Name)), nil, (*Exchange).ExpectGroups)
	if err != nil {
		return err
	}
	switch found := list.Resources(); len(found) {
	case 0:
		body := Object{{"schemas", []any{SchemaGroup}}, {"displayName", g.Name}, {"members", memberValues(g.Members)}}
		created, err := c.send(http.MethodPost, "/Groups", body.Encode(), func(e *Exchange) error { return e.ExpectGroup(http.StatusCreated) })
		if err != nil {
			return err
		}
		g.ID = created.Text("id")
	case 1:
		g.ID, _ = At(found[0], "id").(string)
	default:
		return list.violation("at most one group of that name")
	}
	if c.client.Dialect == AppWizard {
		return c.putGroup(g, true)
	}
	return c.patchGroup(g, addMembers(g.Members))
}

// RenameGroup pushes the group's new name. Errors are those of Do.
func (c *Client) RenameGroup(ctx context.Context, g *PushedGroup, name string) (Conversation, error) {
	talk := c.begin(ctx)
	g.Name = name
	if c.Dialect == AppWizard {
		err := talk.putGroup(g, true)
		return talk.exchanges, err
	}
	err := talk.patchGroup(g, nameOf(g))
	return talk.exchanges, err
}

// ChangeMembers pushes that people have left the group and others have joined it. The name goes along with each change.
// Errors are those of Do.
func (c *Client) ChangeMembers(ctx context.Context, g *PushedGroup, leave, join []GroupMember) (Conversation, error) {
	talk := c.begin(ctx)
	var staying []GroupMember
	for _, member := range g.Members {
		if !containsMember(leave, member) {
			staying = append(staying, member)
		}
	}
	g.Members = slices.Concat(staying, join)
	if c.Dialect == AppWizard {
		err := talk.putGroup(g, false)
		return talk.exchanges, err
	}
	err := talk.patchGroup(g, nameOf(g))
	if err == nil {
		var operations []Object
		for _, member := range leave {
			operations = append(operations, ObjectOf("op", "remove", "path", "members["+Equals("value", member.ID)+"]"))
		}
		if len(join) > 0 {
			operations = append(operations, addMembers(join))
		}
		err = talk.patchGroup(g, operations...)
	}
	return talk.exchanges, err
}

// PushNow is the button of that name: the group as a whole, whatever the app has made of it. Errors are those of Do.
func (c *Client) PushNow(ctx context.Context, g *PushedGroup) (Conversation, error) {
	talk := c.begin(ctx)
	if c.Dialect == AppWizard {
		err := talk.putGroup(g, false)
		return talk.exchanges, err
	}
	err := talk.patchGroup(g, ObjectOf("op", "replace", "path", "members", "value", memberValues(g.Members)))
	return talk.exchanges, err
}

// DeleteGroup unlinks the group and deletes it in the app. Errors are those of Do.
func (c *Client) DeleteGroup(ctx context.Context, g *PushedGroup) (Conversation, error) {
	talk := c.begin(ctx)
	_, err := talk.send(http.MethodDelete, "/Groups/"+g.ID, nil, func(e *Exchange) error { return e.ExpectStatus(http.StatusNoContent) })
	return talk.exchanges, err
}

// ImportGroups reads all groups by pages of 100. Errors are those of Do, with the groups read so far.
func (c *Client) ImportGroups(ctx context.Context) ([]any, Conversation, error) {
	talk := c.begin(ctx)
	var groups []any
	for start := 1; ; start += importPage {
		page, err := talk.send(http.MethodGet, "/Groups?startIndex="+strconv.Itoa(start)+"&count="+strconv.Itoa(importPage), nil, (*Exchange).ExpectGroups)
		if err != nil {
			return groups, talk.exchanges, err
		}
		groups = append(groups, page.Resources()...)
		if start+importPage > page.Number("totalResults") {
			return groups, talk.exchanges, nil
		}
	}
}

func addMembers(members []GroupMember) Object {
	return ObjectOf("op", "add", "path", "members", "value", memberValues(members))
}

// nameOf is what Okta sends on a rename, and before each change of members: it repeats the id.
func nameOf(g *PushedGroup) Object {
	return ObjectOf("op", "replace", "value", Object{{"id", g.ID}, {"displayName", g.Name}})
}

func containsMember(list []GroupMember, wanted GroupMember) bool {
	for _, member := range list {
		if member.ID == wanted.ID {
			return true
		}
	}
	return false
}

// putGroup reads the group and puts it back whole, with its id or without: both have been seen.
func (c *conversation) putGroup(g *PushedGroup, withID bool) error {
	fetched, err := c.send(http.MethodGet, "/Groups/"+g.ID, nil, func(e *Exchange) error { return e.ExpectGroup() })
	if err != nil {
		return err
	}
	body := Object{{"schemas", fetched.At("schemas")}}
	if withID {
		body.Set("id", fetched.Text("id"))
	}
	body.Set("displayName", g.Name)
	body.Set("members", memberValues(g.Members))
	answer, err := c.send(http.MethodPut, "/Groups/"+g.ID, body.Encode(), func(e *Exchange) error { return e.ExpectGroup() })
	if err != nil {
		return err
	}
	return answer.showsGroup(g)
}

// patchGroup takes 204, and 200 with the group.
func (c *conversation) patchGroup(g *PushedGroup, operations ...Object) error {
	_, err := c.send(http.MethodPatch, "/Groups/"+g.ID, PatchBody(operations...), func(e *Exchange) error {
		if e.Status == http.StatusNoContent {
			return nil
		}
		return e.ExpectGroup()
	})
	return err
}

func (e *Exchange) showsGroup(g *PushedGroup) error {
	if e.Text("id") != g.ID || e.Text("displayName") != g.Name {
		return e.violation("the group %s named %q", g.ID, g.Name)
	}
	if members := e.Members(); len(members) != len(g.Members) {
		return e.violation("%d members as sent, not %d", len(g.Members), len(members))
	}
	return nil
}

// Members lists the ids of a group's members.
func (e *Exchange) Members() []string { return MembersIn(e.Document) }

// MembersIn lists the ids of the members in a decoded group.
func MembersIn(group any) []string {
	list, _ := At(group, "members").([]any)
	ids := make([]string, 0, len(list))
	for _, member := range list {
		id, _ := At(member, "value").(string)
		ids = append(ids, id)
	}
	return ids
}

// ExpectGroup returns a *ViolationError unless the answer is a whole group with one of the statuses (200 where none is given).
func (e *Exchange) ExpectGroup(statuses ...int) error {
	if len(statuses) == 0 {
		statuses = []int{http.StatusOK}
	}
	if err := e.ExpectStatus(statuses...); err != nil {
		return err
	}
	if problem := groupProblem(e.Document); problem != "" {
		return e.violation("a group: %s", problem)
	}
	if e.Status == http.StatusCreated && !strings.HasSuffix(e.Header.Get("Location"), "/Groups/"+e.Text("id")) {
		return e.violation("a Location that ends in /Groups/%s", e.Text("id"))
	}
	return nil
}

// groupProblem says what a client misses in a group, or "".
func groupProblem(group any) string {
	schemas, _ := At(group, "schemas").([]any)
	if !contains(schemas, SchemaGroup) {
		return "schemas has no " + SchemaGroup
	}
	for _, path := range [][]any{{"id"}, {"displayName"}, {"meta", "created"}, {"meta", "lastModified"}, {"meta", "location"}, {"meta", "version"}} {
		if text, _ := At(group, path...).(string); text == "" {
			return fmt.Sprintf("%v is no string or empty", path)
		}
	}
	if At(group, "meta", "resourceType") != "Group" {
		return "meta.resourceType is not Group"
	}
	members := At(group, "members")
	if list, isList := members.([]any); members != nil {
		if !isList {
			return "members is no array"
		}
		for _, member := range list {
			id, _ := At(member, "value").(string)
			reference, _ := At(member, "$ref").(string)
			display, _ := At(member, "display").(string)
			if id == "" || display == "" || !strings.HasSuffix(reference, "/Users/"+id) || At(member, "type") != "User" {
				return "a member lacks its value, its display, the $ref of a user or the type User"
			}
		}
	}
	return ""
}

// ExpectGroups is ExpectList with a whole group as every resource. It returns a *ViolationError.
func (e *Exchange) ExpectGroups() error {
	if err := e.ExpectList(); err != nil {
		return err
	}
	for i, group := range e.Resources() {
		if problem := groupProblem(group); problem != "" {
			return e.violation("a group as Resources[%d]: %s", i, problem)
		}
	}
	return nil
}
