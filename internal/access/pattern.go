package access

import (
	"fmt"
	"regexp"
	"regexp/syntax"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/ast"
	"github.com/google/cel-go/common/env"
	"github.com/google/cel-go/common/overloads"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"k8s.io/utils/lru"
)

const (
	// maxInstructions bounds a pattern of matches. The pattern of an e-mail address has about 30; .{0,999} has 2000 in eight
	// characters, and one of 4096 characters can have a million.
	maxInstructions = 1000
	keptPatterns    = 1024
	// overloadMatches is the form matches(text, pattern); CEL keeps the name of the function for the choice among its forms.
	overloadMatches = "matches_string_string"
)

// pattern is a compiled regular expression.
type pattern struct {
	*regexp.Regexp
	instructions int
}

// patterns keeps what was compiled last, by text: a pattern or an error. Patterns can come from attributes, so that they
// are not known in advance.
var patterns = lru.New(keptPatterns)

// compilePattern compiles a pattern, or finds it. It fails on one of more than maxInstructions.
func compilePattern(text string) (*pattern, error) {
	if known, found := patterns.Get(text); found {
		if compiled, isPattern := known.(*pattern); isPattern {
			return compiled, nil
		}
		return nil, known.(error)
	}
	compiled, err := compileNew(text)
	if err != nil {
		patterns.Add(text, err)
		return nil, err
	}
	patterns.Add(text, compiled)
	return compiled, nil
}

func compileNew(text string) (*pattern, error) {
	parsed, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		return nil, err
	}
	if size := instructionsOf(parsed); size > maxInstructions {
		return nil, fmt.Errorf("the pattern has more than %d instructions", maxInstructions)
	}
	program, err := syntax.Compile(parsed.Simplify())
	if err != nil {
		return nil, err
	}
	compiled, err := regexp.Compile(text)
	if err != nil {
		return nil, err
	}
	return &pattern{Regexp: compiled, instructions: len(program.Inst)}, nil
}

// instructionsOf counts the instructions that a pattern will have, about, without compiling it: repetitions multiply.
func instructionsOf(parsed *syntax.Regexp) int {
	size := 1 + len(parsed.Rune)/2
	for _, part := range parsed.Sub {
		size += instructionsOf(part)
	}
	if parsed.Op == syntax.OpRepeat {
		size *= max(parsed.Min, parsed.Max, 1)
	}
	return min(size, maxInstructions+1)
}

// checkPatterns refuses patterns that are wrong or too large, where the expression holds them as literals.
func checkPatterns(checked *ast.AST) error {
	var failure error
	ast.PostOrderVisit(checked.Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		if e.Kind() != ast.CallKind || e.AsCall().FunctionName() != overloads.Matches || len(e.AsCall().Args()) == 0 {
			return
		}
		arguments := e.AsCall().Args()
		literal, isText := literalText(arguments[len(arguments)-1])
		if !isText {
			return
		}
		if _, err := compilePattern(literal); err != nil && failure == nil {
			place := checked.SourceInfo().GetStartLocation(e.ID())
			failure = fmt.Errorf("%d:%d: %w", place.Line(), place.Column()+1, err)
		}
	}))
	return failure
}

// boundedMatches is CEL's library with a function matches that knows how large a pattern is.
func boundedMatches() (library, matches cel.EnvOption) {
	binding := cel.BinaryBinding(func(text, expression ref.Val) ref.Val {
		compiled, err := compilePattern(string(expression.(types.String)))
		if err != nil {
			return types.WrapErr(err)
		}
		return types.Bool(compiled.MatchString(string(text.(types.String))))
	})
	arguments := []*cel.Type{cel.StringType, cel.StringType}
	return cel.StdLib(cel.StdLibSubset(env.NewLibrarySubset().AddExcludedFunctions(env.NewFunction(overloads.Matches)))),
		cel.Function(overloads.Matches,
			cel.Overload(overloadMatches, arguments, cel.BoolType, binding),
			cel.MemberOverload(overloads.MatchesString, arguments, cel.BoolType, binding))
}
