package access

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/ext"

	"github.com/scim-operator/scim-operator/api/attributes"
	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// maxExpressionCost bounds the work of one expression for one user. A comparison costs a handful, so an expression of
// 4096 characters over a user of ordinary size stays far below; what exceeds it grants nothing.
const maxExpressionCost = 1_000_000

// Variables of an expression.
const (
	variableUser   = "user"
	variableGroups = "groups"
)

// expression is a compiled CEL expression over the variables user and groups.
type expression struct {
	program cel.Program
	// groups says that the expression looks at the person's groups.
	groups bool
}

var expressionEnvironment = sync.OnceValues(func() (*cel.Env, error) {
	return cel.NewEnv(
		cel.Variable(variableUser, cel.MapType(cel.StringType, cel.DynType)),
		cel.Variable(variableGroups, cel.ListType(cel.StringType)),
		ext.Strings(),
		ext.Sets(),
	)
})

// compileExpression checks an expression. The error gives line and column of what is wrong.
func compileExpression(text string) (*expression, error) {
	environment, err := expressionEnvironment()
	if err != nil {
		return nil, fmt.Errorf("set up CEL: %w", err)
	}
	ast, issues := environment.Compile(text)
	if issues.Err() != nil {
		return nil, issueError(issues)
	}
	if output := ast.OutputType(); !output.IsExactType(cel.BoolType) && !output.IsExactType(cel.DynType) {
		return nil, fmt.Errorf("1:1: the expression gives %s, not bool", output)
	}
	program, err := environment.Program(ast, cel.EvalOptions(cel.OptOptimize), cel.CostLimit(maxExpressionCost))
	if err != nil {
		return nil, err
	}
	compiled := &expression{program: program}
	for _, reference := range ast.NativeRep().ReferenceMap() {
		compiled.groups = compiled.groups || reference.Name == variableGroups
	}
	return compiled, nil
}

// issueError gives the first of CEL's issues on one line: their own text spans several, to point at the place.
func issueError(issues *cel.Issues) error {
	first := issues.Errors()[0]
	return fmt.Errorf("%d:%d: %s", first.Location.Line(), first.Location.Column()+1, first.Message)
}

// holds evaluates the expression. An attribute that the user does not have makes it false, also under a negation: what
// is not known grants nothing.
func (e *expression) holds(variables map[string]any) (bool, error) {
	value, _, err := e.program.Eval(variables)
	if err != nil {
		if strings.Contains(err.Error(), "no such key") {
			return false, nil
		}
		return false, err
	}
	holds, isBool := value.Value().(bool)
	if !isBool {
		return false, fmt.Errorf("gives %s, not bool", value.Type().TypeName())
	}
	return holds, nil
}

// expressionUser is the user as expressions see it: SCIM attributes by name, custom attributes and those of the
// enterprise extension beside userName, every extension by its URN, too.
func expressionUser(user *v1alpha1.UserSpec) map[string]any {
	visible := v1alpha1.UserSpec{
		UserName: user.UserName, ExternalID: user.ExternalID, Active: user.Active, DisplayName: user.DisplayName,
		Name: user.Name, NickName: user.NickName, ProfileURL: user.ProfileURL, Title: user.Title,
		UserType: user.UserType, PreferredLanguage: user.PreferredLanguage, Locale: user.Locale,
		Timezone: user.Timezone, Emails: user.Emails, PhoneNumbers: user.PhoneNumbers, IMs: user.IMs,
		Photos: user.Photos, Addresses: user.Addresses, Entitlements: user.Entitlements, Roles: user.Roles,
	}
	known := objectOf(visible)
	// The rest of UserSpec is this operator's own bookkeeping; fields without omitempty show up all the same.
	delete(known, "app")
	delete(known, "userNameKey")
	for name, value := range attributes.Object(user.Attributes) {
		if _, taken := known[name]; !taken {
			known[name] = value
		}
	}
	if user.Enterprise != nil {
		extension := objectOf(user.Enterprise)
		for name, value := range extension {
			if _, taken := known[name]; !taken {
				known[name] = value
			}
		}
		known[attributes.EnterpriseURN] = extension
	}
	for urn, extension := range attributes.Object(user.Extensions) {
		known[urn] = extension
	}
	return known
}

// objectOf gives a value the form that JSON gives it. API types always have one.
func objectOf(value any) map[string]any {
	encoded, err := json.Marshal(value)
	if err != nil {
		return map[string]any{}
	}
	var object map[string]any
	if err := json.Unmarshal(encoded, &object); err != nil {
		return map[string]any{}
	}
	return object
}
