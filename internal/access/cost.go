package access

import (
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/checker"
	"github.com/google/cel-go/common"
	"github.com/google/cel-go/common/ast"
	"github.com/google/cel-go/common/operators"
	"github.com/google/cel-go/common/overloads"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/common/types/traits"
)

// Costs are those of CEL: 1 for one comparison or one step of a loop, which takes about 200 ns.
const (
	// evaluationBudget is what all expressions of an App together may cost for one user: about 20 ms. An expression that
	// looks for a prefix among 100 groups costs some 600, so that 128 roles can each have one.
	evaluationBudget = 100_000
	// maxStaticCost is what one expression may cost for a user with the largest attributes and the most groups that
	// expressions take. It bounds the memory and time of a single call before its cost is counted. It is higher than the
	// budget, because ordinary users are far smaller.
	maxStaticCost = 2_000_000
)

// Bounds of what expressions take of a user. An attribute beyond them is an error in each expression that looks at it.
const (
	maxText   = 2048 // characters of one string: the longest that the User's schema admits
	maxItems  = 256  // items of a list, or entries of a map
	maxCore   = 100  // items of a multi-valued attribute of RFC 7643
	maxNodes  = 4096 // values in one attribute, nested ones included
	maxGroups = 1000
	// maxGroupName is what the Group's schema admits.
	maxGroupName = 512
)

// errOverBudget says that the expressions of an App cost more than one user's evaluation may.
var errOverBudget = fmt.Errorf("it costs more than what is left of %d, which all expressions of the App together may cost for one user", evaluationBudget)

// errUnbounded is the reason against an expression with a cost that depends on unbounded sizes.
var errUnbounded = errors.New("its cost has no bound: it builds texts or lists of a size that cannot be told in advance (format does)")

// checkCost refuses an expression that could cost too much, or has a pattern that could.
func checkCost(environment *cel.Env, checked *cel.Ast) error {
	if err := checkPatterns(checked.NativeRep()); err != nil {
		return err
	}
	estimate, err := environment.EstimateCost(checked, newSizes(checked.NativeRep()))
	if err != nil {
		return err
	}
	switch {
	case estimate.Max == math.MaxUint64:
		return errUnbounded
	case estimate.Max > maxStaticCost:
		return fmt.Errorf("costs up to %d for one user, and %d is the limit: it loops within loops, or over large values", estimate.Max, maxStaticCost)
	}
	return nil
}

// sizes tells CEL how large what expressions look at can be.
type sizes struct {
	// collections are expressions that can be nothing but a list or a map: what loops go over, what in looks into, and sets.
	collections map[int64]bool
}

func newSizes(checked *ast.AST) sizes {
	s := sizes{collections: map[int64]bool{}}
	ast.PostOrderVisit(checked.Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		switch e.Kind() {
		case ast.ComprehensionKind:
			s.collections[e.AsComprehension().IterRange().ID()] = true
		case ast.CallKind:
			call := e.AsCall()
			arguments := call.Args()
			if call.FunctionName() == operators.In {
				arguments = arguments[1:]
			} else if !strings.HasPrefix(call.FunctionName(), "sets.") {
				return
			}
			for _, argument := range arguments {
				s.collections[argument.ID()] = true
			}
		}
	}))
	return s
}

var coreCollections = map[string]bool{
	"emails": true, "phoneNumbers": true, "ims": true, "photos": true, "addresses": true, "entitlements": true, "roles": true,
}

// EstimateSize bounds the size of what is taken from the variables. What an expression builds itself CEL follows by itself.
func (s sizes) EstimateSize(node checker.AstNode) *checker.SizeEstimate {
	path := node.Path()
	if len(path) == 0 {
		return nil
	}
	upTo := func(size uint64) *checker.SizeEstimate { return &checker.SizeEstimate{Max: size} }
	switch {
	case path[0] == variableGroups && len(path) == 1:
		return upTo(maxGroups)
	case path[0] == variableGroups:
		return upTo(maxGroupName)
	case path[0] != variableUser:
		return nil
	case len(path) == 2 && coreCollections[path[1]]:
		return upTo(maxCore)
	case len(path) == 1 || s.collections[node.Expr().ID()]:
		return upTo(maxItems)
	}
	return upTo(maxText)
}

// EstimateCallCost gives the cost of functions that CEL underestimates.
func (s sizes) EstimateCallCost(_, overload string, target *checker.AstNode, args []checker.AstNode) *checker.CallEstimate {
	switch overload {
	case overloadMatches, overloads.MatchesString:
		if target != nil {
			args = append([]checker.AstNode{*target}, args...)
		}
		return &checker.CallEstimate{CostEstimate: checker.CostEstimate{Max: estimateMatch(args[0], args[1])}}
	case overloads.ExtFormatString:
		return &checker.CallEstimate{CostEstimate: checker.UnknownCostEstimate()}
	}
	return nil
}

func estimateMatch(text, pattern checker.AstNode) uint64 {
	length := uint64(math.MaxUint64)
	if size := text.ComputedSize(); size != nil {
		length = size.Max
	}
	instructions := uint64(maxInstructions)
	if literal, isText := literalText(pattern.Expr()); isText {
		if compiled, err := compilePattern(literal); err == nil {
			instructions = uint64(compiled.instructions)
		}
	}
	return matchCost(length, instructions)
}

func literalText(e ast.Expr) (string, bool) {
	if e.Kind() != ast.LiteralKind {
		return "", false
	}
	text, isText := e.AsLiteral().(types.String)
	return string(text), isText
}

// matchCost is the cost of matching a text of so many characters with a pattern of so many instructions: RE2 looks at each
// instruction for each character at worst.
func matchCost(length, instructions uint64) uint64 {
	const perStep = 0.1
	cost := math.Ceil((float64(length) + 1) * float64(instructions) * perStep)
	if cost >= math.MaxUint64 {
		return math.MaxUint64
	}
	return uint64(cost)
}

// actualCost counts what CEL's own runtime costs leave out: the contents of lists and maps that are compared, the
// instructions of a pattern, and the length of texts for every function that looks at them.
type actualCost struct{}

// CallCost implements interpreter.ActualCostEstimator.
func (actualCost) CallCost(_, overload string, args []ref.Val, _ ref.Val) *uint64 {
	var cost uint64
	switch overload {
	case overloads.Equals, overloads.NotEquals:
		cost = 1 + min(contents(args[0]), contents(args[1]))
	case overloads.InList:
		cost = 1 + contents(args[1])
	case overloadMatches, overloads.MatchesString:
		pattern, _ := args[1].(types.String)
		instructions := 1
		if compiled, err := compilePattern(string(pattern)); err == nil {
			instructions = compiled.instructions
		}
		cost = matchCost(sizeOf(args[0]), uint64(instructions))
	case overloads.AddString, overloads.AddBytes, overloads.ContainsString, overloads.StringToBytes, overloads.BytesToString:
		return nil // CEL's own cost follows the length
	default:
		cost = 1
		for _, arg := range args {
			if text, isText := arg.(types.String); isText {
				cost += uint64(float64(len(text)) * common.StringTraversalCostFactor)
			}
		}
	}
	return &cost
}

func sizeOf(value ref.Val) uint64 {
	if sized, isSized := value.(traits.Sizer); isSized {
		if size, isInt := sized.Size().(types.Int); isInt {
			return uint64(size)
		}
	}
	return 1
}

// contents is the cost of looking at a value as a whole.
func contents(value ref.Val) uint64 {
	switch v := value.(type) {
	case types.String:
		return uint64(float64(len(v)) * common.StringTraversalCostFactor)
	case traits.Mapper:
		cost := uint64(1)
		for i := v.Iterator(); i.HasNext() == types.True; {
			key := i.Next()
			cost += contents(key) + contents(v.Get(key))
		}
		return cost
	case traits.Lister:
		cost := uint64(1)
		for i := v.Iterator(); i.HasNext() == types.True; {
			cost += 1 + contents(i.Next())
		}
		return cost
	}
	return 1
}
