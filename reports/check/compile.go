package check

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/parser"
	"github.com/expr-lang/expr/types"
)

// Names of the functions that a compiled expression calls. They cannot be
// called from a file: a measure becomes a call so that one without a value can
// stop the evaluation.
const (
	fnInteger = "measure_int"
	fnNumber  = "measure_float"
	fnBoolean = "measure_bool"
	fnDivide  = "divide"
	fnModulo  = "modulo"
)

// Language is what the checks of a scenario can say. To make it takes longer than to
// compile a check. It is for use by one goroutine at a time.
type Language struct {
	spec  EnvSpec
	words func(vs bool) *vocabulary
}

// NewLanguage makes that of spec.
func NewLanguage(spec EnvSpec) *Language { return &Language{spec, vocabularies(spec)} }

// Compile is Language.Compile for checks that are all there is of a scenario.
func Compile(spec EnvSpec, inputs []Input) ([]*Check, []*CompileError) {
	return NewLanguage(spec).Compile(inputs)
}

// Compile turns checks into programs. It returns every mistake of every check
// (of one expression, all unknown names at once), and the checks that have none.
func (l *Language) Compile(inputs []Input) ([]*Check, []*CompileError) {
	errs := checkSpec(l.spec)
	var checks []*Check
	seen := map[string]bool{}
	for _, in := range inputs {
		if seen[in.ID] {
			errs = append(errs, &CompileError{ID: in.ID, Msg: "a second check has this id"})
		}
		seen[in.ID] = true
		c, bad := compile(l.spec, in, l.words(in.Vs != ""))
		errs = append(errs, bad...)
		if len(bad) == 0 {
			checks = append(checks, c)
		}
	}
	return checks, errs
}

// checkSpec refuses traffic whose name means something else in a check.
func checkSpec(spec EnvSpec) []*CompileError {
	var errs []*CompileError
	for _, id := range spec.Traffic {
		if slices.Contains(Reserved(), id) {
			errs = append(errs, &CompileError{
				Msg:  fmt.Sprintf("traffic %q has a name that means something else in checks", id),
				Hint: "rename the traffic",
			})
		}
	}
	return errs
}

func compile(spec EnvSpec, in Input, words *vocabulary) (*Check, []*CompileError) {
	var errs []*CompileError
	switch in.Kind {
	case Expect, Always, Never, Eventually:
	default:
		errs = append(errs, &CompileError{ID: in.ID, Msg: fmt.Sprintf("kind is %q", in.Kind), Hint: "want expect, always, never or eventually"})
	}
	if in.Vs != "" && !slices.Contains(spec.Variants, in.Vs) {
		errs = append(errs, &CompileError{ID: in.ID, Msg: fmt.Sprintf("vs: there is no variant %q", in.Vs), Hint: suggest(in.Vs, spec.Variants)})
	}
	if in.Vs != "" && in.overTime() {
		errs = append(errs, &CompileError{ID: in.ID, Msg: "vs compares whole runs, and this check is judged over the time line", Hint: "use expect without after"})
	}
	r := &resolver{in: in, schema: words.schema}
	tree, err := parser.Parse(in.Expr)
	if err != nil {
		return nil, append(errs, in.fault(err))
	}
	r.visit(tree.Node)
	if len(r.errs) > 0 {
		slices.SortStableFunc(r.errs, func(a, b *CompileError) int {
			return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Col, b.Col))
		})
		return nil, append(errs, r.errs...)
	}
	// Types are checked on the expression as it stands; what runs is the patched one.
	if _, err := expr.Compile(in.Expr, expr.Env(words.types), expr.AsBool()); err != nil {
		return nil, append(errs, in.fault(err))
	}
	program, err := expr.Compile(in.Expr, expr.Env(signatures()), expr.AsBool(), expr.Patch(&patcher{r.schema}))
	if err != nil {
		return nil, append(errs, in.fault(err))
	}
	if len(r.used) == 0 {
		errs = append(errs, &CompileError{ID: in.ID, Line: 1, Col: 1, Msg: "the expression uses no measure, so it says nothing about the run"})
	}
	return &Check{input: in, program: program, used: r.used, schema: r.schema, spec: spec}, errs
}

// signatures types the functions of a compiled expression.
func signatures() types.Map {
	return types.Map{
		fnInteger: types.TypeOf((func(string) (int, error))(nil)),
		fnNumber:  types.TypeOf((func(string) (float64, error))(nil)),
		fnBoolean: types.TypeOf((func(string) (bool, error))(nil)),
		fnDivide:  types.TypeOf((func(any, any) (float64, error))(nil)),
		fnModulo:  types.TypeOf((func(int, int) (int, error))(nil)),
	}
}

// vocabulary is what expressions may say: measures, and the same as nested objects.
type vocabulary struct {
	schema schema
	types  types.Map
}

// vocabularies returns that of a scenario, made once each: with vs, of another variant
// too.
func vocabularies(spec EnvSpec) func(vs bool) *vocabulary {
	known := map[bool]*vocabulary{}
	return func(vs bool) *vocabulary {
		if known[vs] == nil {
			s := newSchema(spec, vs)
			known[vs] = &vocabulary{s, s.types()}
		}
		return known[vs]
	}
}

// types is the schema as nested objects. What is a measure is none.
func (s schema) types() types.Map {
	of := map[typ]types.Type{integer: types.Int, number: types.Float64, boolean: types.Bool}
	all := types.Map{}
	for full, d := range s {
		in := all
		word, rest, more := strings.Cut(full, ".")
		for ; more && in != nil; word, rest, more = strings.Cut(rest, ".") {
			if in[word] == nil {
				in[word] = types.Map{}
			}
			in, _ = in[word].(types.Map)
		}
		if in != nil {
			in[word] = of[d.typ]
		}
	}
	return all
}

// fault turns a library error into ours.
func (in Input) fault(err error) *CompileError {
	fe, ok := errors.AsType[*file.Error](err)
	if !ok {
		if strings.HasPrefix(err.Error(), "expected bool") {
			return &CompileError{ID: in.ID, Line: 1, Col: 1, Msg: "the expression is not true or false: " + err.Error(), Hint: "compare it, as in same.ok == same.total"}
		}
		return &CompileError{ID: in.ID, Line: 1, Col: 1, Msg: err.Error()}
	}
	e := &CompileError{ID: in.ID, Line: max(fe.Line, 1), Col: fe.Column + 1, Msg: fe.Message}
	if in.Expr == "" {
		e.Msg = "the expression is empty"
	}
	switch {
	case strings.Contains(fe.Message, `Operator("=")`):
		e.Hint = "equality is written =="
	case strings.HasPrefix(fe.Message, "bad number"):
		e.Hint = "numbers have no unit; times are in ms, as in same.rtt_ms.p99 < 60"
	}
	return e
}

// at places a mistake at a character offset.
func (in Input) at(offset int, msg, hint string) *CompileError {
	runes := []rune(in.Expr)
	before := string(runes[:min(offset, len(runes))])
	return &CompileError{
		ID: in.ID, Line: 1 + strings.Count(before, "\n"),
		Col: 1 + utf8.RuneCountInString(before[strings.LastIndexByte(before, '\n')+1:]),
		Msg: msg, Hint: hint,
	}
}

// resolver finds the measures of an expression and refuses what is none.
type resolver struct {
	in     Input
	schema schema
	used   []string
	errs   []*CompileError
}

func (r *resolver) fail(at ast.Node, msg, hint string) {
	r.errs = append(r.errs, r.in.at(at.Location().From, msg, hint))
}

// operators of the language. Others of the library (ranges, string matching,
// pipes) have no use for numbers.
func operators() []string {
	return []string{"==", "!=", "<", "<=", ">", ">=", "and", "&&", "or", "||", "not", "!", "+", "-", "*", "/", "%"}
}

// functions of the language.
func functions() []string { return []string{"abs", "ceil", "floor", "max", "min", "round"} }

func (r *resolver) visit(n ast.Node) {
	switch n := n.(type) {
	case *ast.BoolNode, *ast.IntegerNode, *ast.FloatNode:
	case *ast.IdentifierNode, *ast.MemberNode:
		r.measure(n)
	case *ast.UnaryNode:
		r.operator(n, n.Operator)
		r.visit(n.Node)
	case *ast.BinaryNode:
		r.operator(n, n.Operator)
		r.visit(n.Left)
		r.visit(n.Right)
	case *ast.ConditionalNode:
		r.visit(n.Cond)
		r.visit(n.Exp1)
		r.visit(n.Exp2)
	case *ast.BuiltinNode:
		r.call(n, n.Name, n.Arguments)
	case *ast.CallNode:
		name := n.Callee.String()
		r.call(n, name, n.Arguments)
	default:
		r.fail(n, fmt.Sprintf("%s is not part of the language of checks", n), "")
	}
}

func (r *resolver) operator(n ast.Node, op string) {
	if !slices.Contains(operators(), op) {
		r.fail(n, fmt.Sprintf("operator %q is not part of the language of checks", op), "known: "+strings.Join(operators(), " "))
	}
}

func (r *resolver) call(n ast.Node, name string, args []ast.Node) {
	if !slices.Contains(functions(), name) {
		r.fail(n, fmt.Sprintf("there is no function %q", name), suggest(name, functions()))
	}
	for _, a := range args {
		r.visit(a)
	}
}

// measure resolves a dotted name.
func (r *resolver) measure(n ast.Node) {
	parts, ok := path(n)
	if !ok {
		r.fail(n, fmt.Sprintf("%s is not the name of a measure", n), "want a dotted name such as same.ok")
		return
	}
	whole := ""
	for _, p := range parts {
		whole = strings.TrimPrefix(whole+"."+p.word, ".")
	}
	if _, known := r.schema[whole]; known {
		r.use(n, whole)
		return
	}
	r.unmeasured(parts)
}

// unmeasured says what is wrong with a name that is no measure's.
func (r *resolver) unmeasured(parts []part) {
	prefix := ""
	for i, p := range parts {
		known := r.schema.below(prefix)
		if !slices.Contains(known, p.word) {
			r.unknown(p, prefix, known)
			return
		}
		prefix = strings.TrimPrefix(prefix+"."+p.word, ".")
		_, leaf := r.schema[prefix]
		switch last := i == len(parts)-1; {
		case leaf:
			next := parts[i+1]
			r.fail(next.node, fmt.Sprintf("%s is a value and has no %q", prefix, next.word), "")
			return
		case last:
			r.fail(p.node, fmt.Sprintf("%s is not a value: say which of its measures", prefix), measuresHint(r.schema.below(prefix)))
		}
	}
}

func measuresHint(names []string) string { return "one of: " + strings.Join(names, ", ") }

func (r *resolver) unknown(p part, prefix string, known []string) {
	switch {
	case prefix == "" && p.word == "vs":
		r.fail(p.node, "vs is not known, because the check does not say which variant to compare with", "add vs: <variant> to the check")
	case prefix == "":
		r.fail(p.node, fmt.Sprintf("there is no traffic or measure %q", p.word), suggest(p.word, known))
	default:
		r.fail(p.node, fmt.Sprintf("%s has no measure %q", prefix, p.word), suggest(p.word, known))
	}
}

// use notes a measure, and refuses one that Always and Never cannot judge.
func (r *resolver) use(n ast.Node, name string) {
	switch {
	case r.in.overTime():
		if !r.schema.timed(name) {
			r.fail(n, fmt.Sprintf("%s is known at the end of the run alone, and this check is judged over the time line", name), "use expect without after")
		}
	case (r.in.Kind == Always || r.in.Kind == Never) && !r.schema[name].grows:
		r.fail(n, fmt.Sprintf("%s is judged over final totals, and %s is no total: it may go up and down", r.in.Kind, name), "use expect, or a measure that only grows")
	}
	if !slices.Contains(r.used, name) {
		r.used = append(r.used, name)
	}
}

// part is one word of a dotted name.
type part struct {
	word string
	node ast.Node
}

// path reads a.b.c; false if n is anything else.
func path(n ast.Node) ([]part, bool) {
	switch n := n.(type) {
	case *ast.IdentifierNode:
		return []part{{n.Value, n}}, true
	case *ast.MemberNode:
		word, ok := n.Property.(*ast.StringNode)
		if !ok || n.Optional {
			return nil, false
		}
		front, ok := path(n.Node)
		return append(front, part{word.Value, word}), ok
	}
	return nil, false
}

// patcher replaces measures and divisions by calls that can fail.
type patcher struct{ schema schema }

// Visit implements ast.Visitor.
func (p *patcher) Visit(node *ast.Node) {
	if b, ok := (*node).(*ast.BinaryNode); ok && (b.Operator == "/" || b.Operator == "%") {
		name := map[string]string{"/": fnDivide, "%": fnModulo}[b.Operator]
		ast.Patch(node, &ast.CallNode{Callee: &ast.IdentifierNode{Value: name}, Arguments: []ast.Node{b.Left, b.Right}})
		return
	}
	parts, ok := path(*node)
	if !ok {
		return
	}
	words := make([]string, len(parts))
	for i, part := range parts {
		words[i] = part.word
	}
	name := strings.Join(words, ".")
	def, ok := p.schema[name]
	if !ok {
		return
	}
	fn := map[typ]string{integer: fnInteger, number: fnNumber, boolean: fnBoolean}[def.typ]
	ast.Patch(node, &ast.CallNode{Callee: &ast.IdentifierNode{Value: fn}, Arguments: []ast.Node{&ast.StringNode{Value: name}}})
}
