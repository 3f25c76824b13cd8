package access

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/ext"
	"github.com/google/cel-go/interpreter"
)

// Variables of an expression.
const (
	variableUser   = "user"
	variableGroups = "groups"
)

// interruptEvery is how many iterations of a loop pass between two looks at whether the evaluation is still wanted.
const interruptEvery = 64

// ErrInterrupted ends an evaluation that is not wanted any more: its caller stopped, or its App was edited or deleted.
var ErrInterrupted = errors.New("the evaluation was interrupted")

// expression is a compiled CEL expression over the variables user and groups.
type expression struct {
	program cel.Program
	// groups says that the expression looks at the person's groups.
	groups bool
}

var expressionEnvironment = sync.OnceValues(func() (*cel.Env, error) {
	library, matches := boundedMatches()
	return cel.NewCustomEnv(
		library, matches,
		cel.Variable(variableUser, cel.MapType(cel.StringType, cel.DynType)),
		cel.Variable(variableGroups, cel.ListType(cel.StringType)),
		ext.Strings(),
		ext.Sets(),
	)
})

// compileExpression checks an expression. The error gives line and column of what is wrong, or what the expression can
// cost at most and may cost.
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
	if err := checkCost(environment, ast); err != nil {
		return nil, err
	}
	program, err := environment.Program(ast, cel.EvalOptions(cel.OptOptimize),
		cel.CostTracking(actualCost{}), cel.CostLimit(evaluationBudget), cel.InterruptCheckFrequency(interruptEvery))
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

// holds evaluates the expression and returns its cost. An attribute that the user does not have makes it false, also
// under a negation: what is not known grants nothing. The error is ErrInterrupted once ctx ends, and errOverBudget where
// this expression alone exceeds the budget.
func (e *expression) holds(ctx context.Context, variables map[string]any) (holds bool, cost uint64, err error) {
	value, details, err := e.program.ContextEval(ctx, variables)
	if details != nil {
		if actual := details.ActualCost(); actual != nil {
			cost = *actual
		}
	}
	var canceled interpreter.EvalCancelledError
	switch {
	case err == nil:
	case errors.As(err, &canceled) && canceled.Cause == interpreter.CostLimitExceeded:
		return false, evaluationBudget + 1, errOverBudget
	case ctx.Err() != nil:
		return false, cost, ErrInterrupted
	case strings.Contains(err.Error(), "no such key"):
		return false, cost, nil
	default:
		return false, cost, err
	}
	holds, isBool := value.Value().(bool)
	if !isBool {
		return false, cost, fmt.Errorf("gives %s, not bool", value.Type().TypeName())
	}
	return holds, cost, nil
}
