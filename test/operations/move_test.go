package operations_test

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	okta "github.com/scim-operator/scim-operator/test/okta/client"
	"github.com/scim-operator/scim-operator/test/okta/harness"
)

// large is more members than a Group holds itself.
const large = 501

// An App moves to another cluster by the commands of docs/moving.md. The client notices nothing: its tokens, ids and memberships are those
// of before, users have the access that they had, and a leaver loses it in the new cluster. In the old one no access is left.
func TestAppMovesToAnotherCluster(t *testing.T) {
	operator.ShowOnFailure(t)
	target, err := harness.Start(t.Context())
	must(t, err)
	t.Cleanup(func() { must(t, target.Stop()) })
	controller, err := target.RunController(t.Context())
	must(t, err)

	// The harness' own token has a digest; this one is in a Secret of the controller's.
	app := operator.Quickstart(t, operator.Server)
	generated := app
	made := operator.CreateToken(t, app, v1alpha1.ScimTokenSpec{Generate: &v1alpha1.GenerateToken{SecretName: "moving"}})
	harness.Eventually(t, patience, "a token that is generated", func(ctx context.Context) error {
		secret, err := operator.Clientset.CoreV1().Secrets(app.Namespace).Get(ctx, "moving", metav1.GetOptions{})
		if err == nil {
			generated.Token = string(secret.Data["token"])
		}
		return err
	})
	operator.Opens(t, operator.Server, generated)

	scim := operator.Client(operator.Server, "/scim/v2", app, okta.AppWizard)
	scim.Retries = 20
	stays, leaver, left := person("moving.stays"), person("moving.leaver"), person("moving.left")
	for _, one := range []*okta.Assignment{stays, leaver, left} {
		_, err := scim.AssignUser(t.Context(), one)
		must(t, err)
		operator.AccessSoon(t, app.Subject(one.Profile.UserName), harness.Everywhere(harness.Viewer))
	}
	_, err = scim.Deactivate(t.Context(), left)
	must(t, err)
	_, err = scim.PushGroup(t.Context(), &okta.PushedGroup{Name: "Movers", Members: []okta.GroupMember{okta.MemberOf(stays), okta.MemberOf(leaver)}})
	must(t, err)
	fillLargeGroup(t, scim)
	before := inventory(t, scim)

	must(t, operator.Server.Stop()) // step 2
	t.Cleanup(func() {
		operator.Server, err = operator.RunServer(context.WithoutCancel(t.Context()), "")
		must(t, err)
	})
	place := newWorkplace(t, []string{"old", "new"}, operator, target)
	place.follow(t, "moving.md", "move the secrets")
	place.follow(t, "moving.md", "move the directory")
	server, err := target.RunServer(t.Context(), "")
	must(t, err)
	place.follow(t, "moving.md", "move: compare")

	for _, token := range []harness.App{app, generated} {
		target.Opens(t, server, token)
	}
	scim = target.Client(server, "/scim/v2", app, okta.AppWizard)
	scim.Retries = 20
	harness.Eventually(t, patience, "what the client sees", func(context.Context) error {
		if after := inventory(t, scim); !maps.Equal(before, after) {
			return fmt.Errorf("%d resources before, %d after; or they differ:\n%v\n%v", len(before), len(after), before, after)
		}
		return nil
	})
	for one, want := range map[*okta.Assignment]harness.Access{
		stays: harness.Everywhere(harness.Viewer), leaver: harness.Everywhere(harness.Viewer), left: harness.Nowhere(),
	} {
		target.AccessSoon(t, app.Subject(one.Profile.UserName), want)
	}
	_, err = scim.Deactivate(t.Context(), leaver)
	must(t, err)
	target.AccessNow(t, app.Subject(leaver.Profile.UserName), harness.Nowhere())
	// The new cluster's controller made no other token.
	again := &v1alpha1.ScimToken{}
	must(t, target.Env.Client.Get(t.Context(), client.ObjectKeyFromObject(made), again))
	if serial := again.Status.Rotation; serial != nil && serial.Serial > 1 {
		t.Errorf("token %d was made", serial.Serial)
	}

	place.follow(t, "moving.md", "move: end the old")
	for _, one := range []*okta.Assignment{stays, leaver, left} {
		operator.AccessNow(t, app.Subject(one.Profile.UserName), harness.Nowhere())
	}
	if bindings := operator.BindingsOf(t, app.Subject(stays.Profile.UserName)); len(bindings) > 0 {
		t.Errorf("the old cluster still has %q", bindings)
	}
	target.AccessNow(t, app.Subject(stays.Profile.UserName), harness.Everywhere(harness.Viewer))
	must(t, controller.Stop())
	must(t, operator.ApplySample(t.Context())) // for the tests that follow
}

// fillLargeGroup makes users and a group of them that is kept in shards.
func fillLargeGroup(t *testing.T, scim *okta.Client) {
	t.Helper()
	members := make([]string, 0, large)
	for first := 0; first < large; first += 100 {
		var operations []string
		for i := first; i < min(first+100, large); i++ {
			operations = append(operations, fmt.Sprintf(`{"method":"POST","path":"/Users","bulkId":"u%d","data":{"schemas":[%q],"userName":"crowd.%d@example.com","externalId":"crowd-%d"}}`,
				i, okta.SchemaUser, i, i))
		}
		answer, err := scim.Do(t.Context(), http.MethodPost, "/Bulk", []byte(`{"schemas":["urn:ietf:params:scim:api:messages:2.0:BulkRequest"],"Operations":[`+strings.Join(operations, ",")+`]}`))
		must(t, err)
		must(t, answer.ExpectStatus(http.StatusOK))
		for i := range operations {
			location, _ := okta.At(answer.Document, "Operations", i, "location").(string)
			members = append(members, location[strings.LastIndex(location, "/")+1:])
		}
	}
	values := make([]string, len(members))
	for i, id := range members {
		values[i] = fmt.Sprintf(`{"value":%q}`, id)
	}
	answer, err := scim.Do(t.Context(), http.MethodPost, "/Groups", fmt.Appendf(nil, `{"schemas":[%q],"displayName":"Crowd","members":[%s]}`, okta.SchemaGroup, strings.Join(values, ",")))
	must(t, err)
	must(t, answer.ExpectStatus(http.StatusCreated))
}

// inventory is what the client sees: by kind and id the name, the state, when it was made and last changed, and the members.
func inventory(t *testing.T, scim *okta.Client) map[string]string {
	t.Helper()
	seen := map[string]string{}
	for _, endpoint := range []string{"/Users", "/Groups"} {
		for start, total := 1, 1; start <= total; {
			answer, err := scim.Do(t.Context(), http.MethodGet, fmt.Sprintf("%s?startIndex=%d&count=200", endpoint, start), nil)
			must(t, err)
			must(t, answer.ExpectStatus(http.StatusOK))
			total = answer.Number("totalResults")
			for _, resource := range answer.Resources() {
				members := okta.MembersIn(resource)
				seen[endpoint+"/"+fmt.Sprint(okta.At(resource, "id"))] = fmt.Sprint(okta.At(resource, "userName"), okta.At(resource, "displayName"), okta.At(resource, "externalId"),
					okta.At(resource, "active"), okta.At(resource, "meta", "created"), okta.At(resource, "meta", "lastModified"), len(members), members)
				start++
			}
			if len(answer.Resources()) == 0 {
				break
			}
		}
	}
	return seen
}
