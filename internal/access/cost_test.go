package access

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

func TestExpressionsWithABoundedCostAreTaken(t *testing.T) {
	for _, when := range []string{
		`user.department == "Platform"`,
		`"Platform Admins" in groups`,
		`groups.exists(g, g.startsWith("k8s-"))`,
		`user.emails.exists(e, e.primary && e.value.lowerAscii().endsWith("@example.com"))`,
		`user.roles.exists(r, r.value in groups)`,
		`user.teams.exists(t, t in groups) || sets.intersects(groups, ["a", "b", "c"])`,
		`user.userName.matches("^[a-z0-9._%+-]+@([a-z0-9-]+[.])+[a-z]{2,}$")`,
		`groups.exists(g, g.matches("^team-[a-z]+-admins$"))`,
		`user.displayName.replace(" ", "").size() > 3 && user.costCenter.split("-")[0] == "eng"`,
		`user["urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"].manager.value == "x"`,
		`has(user.level) && int(user.level) >= 3`,
		`user.emails.map(e, e.value).filter(v, v.contains("@")).size() > 1`,
		`user.userName in [` + strings.Repeat(`"someone@example.com",`, 150) + `"x"]`,
	} {
		if _, err := compileExpression(when); err != nil {
			t.Errorf("%s: %v", when, err)
		}
	}
}

func TestExpressionsThatCanCostTooMuchAreRefused(t *testing.T) {
	for when, want := range map[string]string{
		`user.a.all(x, user.a.all(y, user.a.all(z, x + y + z >= 0)))`:                   "2000000 is the limit",
		`groups.all(x, groups.all(y, groups.all(z, x + y != z)))`:                       "2000000 is the limit",
		`groups.exists(g, user.a.exists(x, x == g))`:                                    "2000000 is the limit",
		`"%s%s%s%s".format([user.a, user.a, user.a, user.a]) == user.b`:                 "no bound",
		`[user.a].map(x, "%s%s".format([x, x])).map(x, "%s%s".format([x, x]))[0] == ""`: "no bound",
		`user.a.replace("", user.b).replace("", user.b) == "x"`:                         "is the limit",
		doubled(`[user.a]`, ` + `, 24):                                                  "is the limit",
		`user.a.matches("(.{0,999}){1}(.{0,999}){1}")`:                                  "1:15: the pattern has more than 1000 instructions",
		`user.a.matches("((a{0,30}){0,30}){0,30}")`:                                     "1:15: ",
		`user.a.matches("(")`:                                                           "1:15: error parsing regexp",
		`groups.all(g, g.matches(user.a))`:                                              "is the limit",
	} {
		if _, err := compileExpression(when); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", when, err, want)
		}
	}
}

// doubled maps each element to itself twice, again and again.
func doubled(list, operator string, times int) string {
	return list + strings.Repeat(`.map(x, x`+operator+`x)`, times) + `[0] == ""`
}

// Of every expression that is taken, the evaluation ends soon, whatever the user is: time and memory follow the budget. The
// bound is loose; without the costs that this package adds some of these take minutes.
func TestTheCostOfAnExpressionFollowsItsTime(t *testing.T) {
	texts := make([]string, 250)
	for i := range texts {
		texts[i] = strings.Repeat("a", 500) + fmt.Sprint(i)
	}
	user := v1alpha1.UserSpec{UserName: strings.Repeat("a", 1000), Attributes: attributesOf(t, map[string]any{
		"a": strings.Repeat("a", 2000), "b": strings.Repeat("a?", 200) + strings.Repeat("a", 200), "list": texts[:200], "same": texts[:200],
		"many": make([]int, 256), "pattern": ".{0,999}",
	})}
	groups := make([]Group, 1000)
	for i := range groups {
		groups[i].DisplayName = strings.Repeat("g", 200) + fmt.Sprint(i)
	}
	evaluated := 0
	for _, when := range []string{
		`user.many.all(x, user == user)`,
		`user.many.all(x, user.list == user.same)`,
		`user.many.all(x, user.a.matches(user.b))`,
		`user.many.all(x, user.a.matches(user.pattern))`,
		`user.many.all(x, user.a.matches("(a?){300}b"))`,
		`user.many.all(x, !user.a.contains("ab"))`,
		`user.many.all(x, user.a.size() > 0 && user.a.size() > 1 && user.a.size() > 2)`,
		`groups.all(x, sets.contains(user.list, user.same))`,
		`user.many.all(x, groups.all(g, g != "x"))`,
		`groups.all(g, g.replace("g", "xxxxxxxxxx").size() > 0)`,
		doubled(`[user.a]`, ` + `, 6),
	} {
		expression, err := compileExpression(when)
		if err != nil {
			t.Logf("%s: refused: %v", when, err)
			continue
		}
		evaluated++
		begin := time.Now()
		_, cost, err := expression.holds(t.Context(), expressionVariables(&user, groups))
		took := time.Since(begin)
		t.Logf("%8d %8v %v  %s", cost, took.Round(time.Microsecond), err, when)
		if took > 30*time.Second { // with the race detector, on a busy machine
			t.Errorf("%s took %v", when, took)
		}
	}
	if evaluated == 0 {
		t.Error("none is taken")
	}
}

func attributesOf(t *testing.T, object map[string]any) *runtime.RawExtension {
	t.Helper()
	raw, err := json.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	return &runtime.RawExtension{Raw: raw}
}

// expensive is an expression that is admitted. Its cost follows the number of groups times the number of values.
const expensive = `groups.all(x, user.many.all(y, y >= 0))`

func withGroups(count int) []Group {
	groups := make([]Group, count)
	for i := range groups {
		groups[i].DisplayName = fmt.Sprintf("group %d", i)
	}
	return groups
}

// An expression that costs more by itself than all of an App may is stopped, and that is what its error says.
func TestOneExpressionBeyondTheBudget(t *testing.T) {
	expression, err := compileExpression(expensive)
	if err != nil {
		t.Fatal(err)
	}
	user := v1alpha1.UserSpec{UserName: "jane", Attributes: attributesOf(t, map[string]any{"many": make([]int, 256)})}
	if holds, cost, err := expression.holds(t.Context(), expressionVariables(&user, withGroups(1000))); holds || cost <= evaluationBudget || !errors.Is(err, errOverBudget) {
		t.Errorf("holds %t, costs %d, error %v", holds, cost, err)
	}
	if holds, cost, err := expression.holds(t.Context(), expressionVariables(&user, withGroups(2))); !holds || cost > evaluationBudget || err != nil {
		t.Errorf("within it: holds %t, costs %d, error %v", holds, cost, err)
	}
}

func TestAllExpressionsOfAnAppShareOneBudget(t *testing.T) {
	app := testApp()
	app.Spec.Roles = nil
	for i := range 128 {
		app.Spec.Roles = append(app.Spec.Roles, v1alpha1.Role{Name: fmt.Sprintf("role-%d", i), When: expensive})
	}
	app.Spec.RoleAssignment = v1alpha1.RoleAssignment{Default: []string{"role-127"}}
	policy, fieldErrors := Compile(app)
	if len(fieldErrors) > 0 {
		t.Fatal(fieldErrors)
	}
	user := v1alpha1.UserSpec{UserName: "jane", Attributes: attributesOf(t, map[string]any{"many": make([]int, 100)})}
	decision, err := policy.Evaluate(t.Context(), &user, withGroups(20), noon)
	if err != nil {
		t.Fatal(err)
	}
	if len(decision.Problems) != 1 || decision.Problems[0].Reason != ReasonExpressionTooExpensive || !strings.Contains(decision.Problems[0].Message, "role role-") {
		t.Errorf("problems = %+v", decision.Problems)
	}
	for _, role := range decision.Roles {
		if role.Role == "role-127" {
			t.Errorf("the default role is held though it is not known what was earned: %v", role)
		}
	}
	if len(decision.Roles) == 0 || len(decision.Roles) > 3*30 {
		t.Errorf("%d roles are held, want those of the expressions before the budget was spent", len(decision.Roles))
	}
}

func TestAnEvaluationEndsWithItsCallerAndItsApp(t *testing.T) {
	app := testApp()
	app.UID, app.Generation = "one", 1
	app.Spec.Roles[1].When = expensive
	edited := app.DeepCopy()
	edited.Generation = 2
	edited.Spec.Roles[1].When = "false"
	user := v1alpha1.UserSpec{Attributes: attributesOf(t, map[string]any{"many": make([]int, 250)})}
	for name, stop := range map[string]func(*Cache, context.CancelFunc){
		"caller":         func(_ *Cache, cancel context.CancelFunc) { cancel() },
		"edit":           func(c *Cache, _ context.CancelFunc) { c.Supersede(edited) },
		"edit, compiled": func(c *Cache, _ context.CancelFunc) { c.Compile(edited) },
		"deletion":       func(c *Cache, _ context.CancelFunc) { c.Forget(types.UID("one")) },
	} {
		t.Run(name, func(t *testing.T) {
			cache := &Cache{}
			policy, fieldErrors := cache.Compile(app)
			if len(fieldErrors) > 0 {
				t.Fatal(fieldErrors)
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if _, err := policy.Evaluate(ctx, &user, withGroups(10), noon); err != nil {
				t.Fatal(err)
			}
			cache.Supersede(app)
			if _, err := policy.Evaluate(ctx, &user, withGroups(10), noon); err != nil {
				t.Fatalf("the App as it is stopped an evaluation: %v", err)
			}
			stop(cache, cancel)
			if _, err := policy.Evaluate(ctx, &user, withGroups(1000), noon); !errors.Is(err, ErrInterrupted) {
				t.Errorf("the evaluation ended with %v", err)
			}
		})
	}
}

// What expressions do not take of a user fails them: it is neither absent, which would make a negation true, nor cut.
func TestAttributesBeyondTheBoundsFailExpressions(t *testing.T) {
	long := strings.Repeat("x", maxText+1)
	user := v1alpha1.UserSpec{UserName: "jane", Attributes: attributesOf(t, map[string]any{
		"long": long, "nested": map[string]any{"list": []any{"a", long}}, "many": make([]int, maxItems+1),
		"deep": deep(2 * maxNodes), "fine": strings.Repeat("ä", maxText),
	})}
	for when, want := range map[string]string{
		`user.long == "y"`:                      "attribute long of the user is larger",
		`user.long != "y"`:                      "attribute long of the user is larger",
		`!(user.long == "y")`:                   "attribute long of the user is larger",
		`user.nested.list != ["a"]`:             "attribute nested of the user is larger",
		`has(user.nested.other)`:                "attribute nested of the user is larger",
		`!has(user.nested.other)`:               "attribute nested of the user is larger",
		`user.many.all(x, x == 0)`:              "attribute many of the user is larger",
		`!(5 in user.many)`:                     "attribute many of the user is larger",
		`user.deep == user.deep`:                "attribute deep of the user is larger",
		`has(user.long) && user.fine != "y"`:    "",
		`!("x" in groups)`:                      "the user is in 1001 groups",
		`groups.all(g, g != "x")`:               "the user is in 1001 groups",
		`size(groups) == 0 || size(groups) > 0`: "the user is in 1001 groups",
	} {
		expression, err := compileExpression(when)
		if err != nil {
			t.Errorf("%s: %v", when, err)
			continue
		}
		holds, _, err := expression.holds(t.Context(), expressionVariables(&user, withGroups(maxGroups+1)))
		if want == "" && (err != nil || !holds) || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, %v, want %q", when, holds, err, want)
		}
	}
}

func deep(nodes int) any {
	var lists []any
	for range nodes / 100 {
		lists = append(lists, make([]int, 100))
	}
	return lists
}

func BenchmarkExpression(b *testing.B) {
	user := v1alpha1.UserSpec{UserName: "jane@example.com", Enterprise: &v1alpha1.EnterpriseUser{Department: "Platform"}}
	for name, when := range map[string]string{
		"comparison": `user.department == "Platform"`,
		"groups":     `groups.exists(g, g.startsWith("k8s-"))`,
	} {
		b.Run(name, func(b *testing.B) {
			expression, err := compileExpression(when)
			if err != nil {
				b.Fatal(err)
			}
			variables := expressionVariables(&user, withGroups(100))
			for b.Loop() {
				if _, _, err := expression.holds(b.Context(), variables); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
