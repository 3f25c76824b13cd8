package statuspage

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"html/template"
	"net"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/controllers/inventory"
	"github.com/scim-operator/scim-operator/internal/clip"
	"github.com/scim-operator/scim-operator/internal/loopback"
	"github.com/scim-operator/scim-operator/internal/telemetry"
)

const (
	// maxApps and maxProblems bound the page; the rest is counted.
	maxApps     = 200
	maxProblems = 100
	maxText     = 512
	// expiryNotice is how long before its end a token is on the page.
	expiryNotice = 30 * 24 * time.Hour
)

// view is what the template shows.
type view struct {
	CSS, JS  template.HTML // the embedded files, as they are
	At       time.Time
	Role     string
	Starting bool
	Problems []problem
	Apps     []appView
	Tokens   []tokenView
	Facts    []factView
	// MoreProblems, MoreApps and AllApps count what is there and not shown.
	MoreProblems, MoreApps, AllApps int
}

type problem struct{ Where, What, Do string }

type appView struct {
	Name, DisplayName, Mode, Path, External, Ready, LastUse string
	Users, Groups                                           []count
	Held                                                    int32
	Granting, Revoking                                      string
}

type count struct {
	State string
	Count int
}

type tokenView struct {
	Name, App, ID, Expires, LastUse string
	Expired                         bool
}

type factView struct {
	At                                      time.Time
	Action, Resource, ID, App, Detail, From string
}

func (p *Page) view(ctx context.Context, now time.Time) (*view, error) {
	//nolint:gosec // constants of this package, not a tenant's texts
	v := &view{CSS: template.HTML("<style>" + pageCSS + "</style>"), JS: template.HTML("<script>" + pageJS + "</script>"), At: now.UTC()}
	source := p.source.Load()
	if source == nil {
		v.Starting = true
		return v, nil
	}
	v.Role = "This replica stands by. Only the leader's page has lags and audit lines."
	if source.Leads() {
		v.Role = "This replica leads."
	}
	apps := &v1alpha1.AppList{}
	if err := source.Reader.List(ctx, apps, client.UnsafeDisableDeepCopy); err != nil {
		return nil, err
	}
	tokens, err := source.Inventory.Tokens(ctx)
	if err != nil {
		return nil, err
	}
	requests, err := source.Inventory.LastRequests(ctx)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(apps.Items, func(a, b v1alpha1.App) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	v.problemsOfPolicies(source)
	v.problemsOfDefinitions(source)
	lags := newLags()
	for i := range apps.Items {
		app := &apps.Items[i]
		counts := source.Inventory.Of(client.ObjectKeyFromObject(app))
		v.problemsOf(app, counts)
		if i < maxApps {
			v.Apps = append(v.Apps, viewOf(app, counts, requests[client.ObjectKeyFromObject(app)], lags, now))
		}
	}
	v.AllApps, v.MoreApps = len(apps.Items), max(0, len(apps.Items)-maxApps)
	v.showTokens(tokens, now)
	v.MoreProblems = max(0, len(v.Problems)-maxProblems)
	v.Problems = v.Problems[:min(len(v.Problems), maxProblems)]
	for _, fact := range telemetry.Facts() {
		v.Facts = append(v.Facts, viewOfFact(fact))
	}
	return v, nil
}

// problemsOfPolicies adds the admission policies that are not in place.
func (v *view) problemsOfPolicies(source *Source) {
	findings, _, _ := source.Policies()
	for _, finding := range findings {
		v.Problems = append(v.Problems, problem{"Admission policies", clip.Text(finding.String()+". Where it is not in force, RBAC alone bounds what accounts write.", maxText),
			"Install them again. Runbook ScimOperatorAdmissionPoliciesMissing."})
	}
}

// problemsOfDefinitions adds the CustomResourceDefinitions that are not those of this version.
func (v *view) problemsOfDefinitions(source *Source) {
	findings, _, _ := source.Definitions()
	for _, finding := range findings {
		v.Problems = append(v.Problems, problem{"Definitions", clip.Text(finding.String()+". The API server drops fields that this version writes, and takes values that it refuses.", maxText),
			"Install those of the version that runs. Runbook ScimOperatorDefinitionsDiffer."})
	}
}

// problemsOf adds what is wrong with an App, the worst first, and what to do.
func (v *view) problemsOf(app *v1alpha1.App, counts inventory.Counts) {
	add := func(what, do string) {
		v.Problems = append(v.Problems, problem{app.Namespace + "/" + app.Name, clip.Text(what, maxText), do})
	}
	if n := counts.Users[inventory.StateLeaving]; n > 0 {
		add(fmt.Sprintf("%d leavers are not confirmed to be without access.", n), "Look at condition AccessRevoked: kubectl describe suser. Runbook ScimOperatorRevocationUnconfirmed.")
	}
	if n := counts.Users[inventory.StateOutlasted] + counts.Residual; n > 0 {
		add(fmt.Sprintf("%d leavers still have access by other bindings.", n), "Remove those bindings: status.residualAccess lists them. Runbook ScimOperatorResidualAccess.")
	}
	if removals := app.Status.Removals; removals != nil && removals.Held > 0 {
		add(fmt.Sprintf("%d users keep roles that they no longer earn: spec.safety holds the removals.", removals.Held), "Release them, or put the group or App right. Runbook ScimOperatorRemovalsHeld.")
	}
	if ready := meta.FindStatusCondition(app.Status.Conditions, v1alpha1.ConditionReady); ready == nil {
		add("The App was not looked at yet.", "Wait a moment. If it stays, look for a leader. Runbook ScimOperatorNoLeader.")
	} else if ready.Status != metav1.ConditionTrue {
		add(ready.Reason+": "+ready.Message, "docs/access.md says what each reason asks for. Runbook ScimOperatorAppNotReady.")
	}
	if n := counts.Users[inventory.StateNotGranted]; n > 0 {
		add(fmt.Sprintf("%d users lack access that they earned.", n), "Look at condition AccessGranted: kubectl describe suser.")
	}
	if n := counts.Groups[inventory.StateMembersUnknown]; n > 0 {
		add(fmt.Sprintf("%d groups were pushed with members that are no users of the App.", n), "Assign those people to the Okta app, then push the group again.")
	}
	if app.Status.Tokens == 0 && app.Spec.OIDC == nil && app.Spec.OAuth == nil {
		add("No token opens the App.", "List one in spec.tokens: config/samples/tokens.")
	}
	if issuer := meta.FindStatusCondition(app.Status.Conditions, v1alpha1.ConditionIssuerReachable); issuer != nil && issuer.Status != metav1.ConditionTrue {
		add(issuer.Message, "Tokens of the issuer may not open the App: docs/oidc.md.")
	}
	if keys := meta.FindStatusCondition(app.Status.Conditions, v1alpha1.ConditionClientKeysRead); keys != nil && keys.Status != metav1.ConditionTrue {
		add(keys.Message, "Machine clients get no token by such a key: docs/tokens.md.")
	}
}

func viewOf(app *v1alpha1.App, counts inventory.Counts, request inventory.Request, lags lags, now time.Time) appView {
	name := client.ObjectKeyFromObject(app)
	shown := appView{
		Name: name.String(), DisplayName: app.Spec.DisplayName, Mode: app.Spec.Mode, External: app.Spec.ExternalURL,
		Path: "/apps/" + name.Namespace + "/" + name.Name + "/scim/v2", Ready: "not looked at yet", LastUse: "no request yet",
		Granting: lags.of("provisioning_seconds", name), Revoking: lags.of("revocation_seconds", name),
	}
	if ready := meta.FindStatusCondition(app.Status.Conditions, v1alpha1.ConditionReady); ready != nil {
		shown.Ready = "not ready: " + ready.Reason
		if ready.Status == metav1.ConditionTrue {
			shown.Ready = "ready"
		}
	}
	if app.Status.Removals != nil {
		shown.Held = app.Status.Removals.Held
	}
	for _, state := range inventory.UserStates {
		if counts.Users[state] > 0 {
			shown.Users = append(shown.Users, count{strings.ReplaceAll(state, "_", " "), counts.Users[state]})
		}
	}
	for _, state := range inventory.GroupStates {
		if counts.Groups[state] > 0 {
			shown.Groups = append(shown.Groups, count{strings.ReplaceAll(state, "_", " "), counts.Groups[state]})
		}
	}
	if request.By != "" {
		shown.LastUse = fmt.Sprintf("%s, by %s", ago(&request.At, now), request.By)
	}
	return shown
}

// showTokens adds tokens that expire soon or have expired, with a problem for each of these.
func (v *view) showTokens(tokens []*v1alpha1.ScimToken, now time.Time) {
	for _, token := range tokens {
		expires := token.Spec.ExpiresAt
		if expires == nil || token.Spec.Grant != "" || expires.Sub(now) > expiryNotice { // what is issued is replaced by itself
			continue
		}
		shown := tokenView{
			Name: token.Namespace + "/" + token.Name, App: token.Spec.App, ID: token.Status.TokenID,
			Expires: expires.UTC().Format(time.RFC3339), Expired: !now.Before(expires.Time), LastUse: ago(token.Status.LastUsedTime, now),
		}
		v.Tokens = append(v.Tokens, shown)
		what := "The token expires at " + shown.Expires + "."
		if shown.Expired {
			what = "The token expired at " + shown.Expires + "."
		}
		v.Problems = append(v.Problems, problem{shown.Name, what, "Make its successor, enter it in the identity provider, then delete this one. Runbook ScimOperatorTokenExpiresIn14Days."})
	}
	slices.SortFunc(v.Tokens, func(a, b tokenView) int { return cmp.Compare(a.Expires, b.Expires) })
}

func viewOfFact(fact telemetry.Fact) factView {
	text := func(key string) string {
		if value, found := fact.Fields[key]; found {
			return clip.Text(value.String(), maxText)
		}
		return ""
	}
	return factView{
		At: fact.Time.UTC(), Action: text("action"), Resource: text("resource"), ID: text("id"), App: text("app"),
		Detail: clip.Text(rolesText(fact.Fields["roles"].Any()), maxText), From: cmp.Or(text("requestID"), text("requestIDs")),
	}
}

// rolesText lists the roles of an audit line by name and scope.
func rolesText(roles any) string {
	raw, err := json.Marshal(roles)
	if err != nil {
		return ""
	}
	var listed []struct{ Role, Scope string }
	if err := json.Unmarshal(raw, &listed); err != nil {
		return ""
	}
	texts := make([]string, 0, len(listed))
	for _, role := range listed {
		texts = append(texts, role.Role+" in "+role.Scope)
	}
	return strings.Join(texts, ", ")
}

// ago tells a past moment by its distance.
func ago(at *metav1.Time, now time.Time) string {
	if at == nil {
		return "never"
	}
	return at.UTC().Format(time.RFC3339) + " (" + max(0, now.Sub(at.Time)).Truncate(time.Second).String() + " ago)"
}

func isLoopback(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	return loopback.Is(strings.Trim(host, "[]"))
}

type lags map[string]map[types.NamespacedName]string

func (l lags) of(histogram string, app types.NamespacedName) string {
	return cmp.Or(l[histogram][app], "none since this process began")
}
