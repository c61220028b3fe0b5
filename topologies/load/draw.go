package load

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/homeward-lab/homeward/dataplane/unit"
	"github.com/homeward-lab/homeward/topologies/spec"
)

// family is a distribution's name, what its numbers are called, and which of them
// are quantities of what is drawn; the others are plain numbers.
type family struct {
	kind   string
	words  []string
	amount []bool
}

func families() []family {
	return []family{
		{spec.Exponential, []string{"mean"}, []bool{true}},
		{spec.LogNormal, []string{"median", "sigma"}, []bool{true, false}},
		{spec.Pareto, []string{"least", "shape"}, []bool{true, false}},
		{spec.Weibull, []string{"scale", "shape"}, []bool{true, false}},
	}
}

// most is the word that cuts the tail of any of them.
const most = "most"

// quantity reads what a distribution is of: bytes, or seconds.
type quantity struct {
	what, example string
	parse         func(string) (float64, error)
}

func quantityOf(t reflect.Type) quantity {
	if t == reflect.TypeFor[spec.Sizes]() {
		return quantity{"size", "64KiB", func(s string) (float64, error) {
			b, err := unit.ParseBytes(s)
			return float64(b), err
		}}
	}
	return quantity{"duration", "30s", func(s string) (float64, error) {
		d, err := unit.ParseDuration(s)
		return d.D().Seconds(), err
	}}
}

// decodeDraw reads a quantity, a distribution or a file of one.
func decodeDraw(d *decoder, n *yaml.Node, v reflect.Value, _ int) bool {
	q := quantityOf(v.Type())
	want := fmt.Sprintf("a %s such as %s, a distribution such as exponential(mean=%s), or file(NAME)", q.what, q.example, q.example)
	text, _, ok := d.scalar(n, want)
	if !ok {
		return false
	}
	name, inside, call := strings.Cut(strings.TrimSuffix(text, ")"), "(")
	var draw spec.Draw
	var err error
	switch i := slices.IndexFunc(families(), func(f family) bool { return f.kind == name }); {
	case text == "":
	case !call:
		draw.Kind = spec.Constant
		if draw.A, err = q.parse(text); err == nil && draw.A == 0 {
			err = errors.New("want more than 0")
		}
		if err != nil {
			err = fmt.Errorf("%w; or %s", err, want[strings.Index(want, "a dist"):])
		}
	case !strings.HasSuffix(text, ")"):
		err = fmt.Errorf("%q has no end, want a )", clip(text))
	case name == spec.Empirical:
		draw, err = d.empirical(strings.TrimSpace(inside))
	case i < 0:
		names := []string{spec.Empirical}
		for _, f := range families() {
			names = append(names, f.kind)
		}
		d.fail(n, suggest(name, names), "no distribution %q, want one of %s", clip(name), oneOf(names))
		return false
	default:
		draw, err = families()[i].read(inside, q)
	}
	if err != nil {
		d.fail(n, "", "%v", err)
		return false
	}
	v.Field(0).Set(reflect.ValueOf(draw))
	return true
}

// read takes the numbers of a distribution, by their words.
func (f family) read(inside string, q quantity) (spec.Draw, error) {
	draw, seen := spec.Draw{Kind: f.kind}, map[string]bool{}
	into := []*float64{&draw.A, &draw.B}
	for part := range strings.SplitSeq(inside, ",") {
		word, text, _ := strings.Cut(strings.TrimSpace(part), "=")
		word, text = strings.TrimSpace(word), strings.TrimSpace(text)
		i := slices.Index(f.words, word)
		if i < 0 && word != most || seen[word] {
			return draw, fmt.Errorf("%s(…%s…): want %s, and %s= if its tail is cut, each once", f.kind, clip(part), f.form(q), most)
		}
		seen[word] = true
		to, amount := &draw.Most, true
		if i >= 0 {
			to, amount = into[i], f.amount[i]
		}
		var err error
		if amount {
			*to, err = q.parse(text)
		} else if *to, err = strconv.ParseFloat(text, 64); err != nil {
			err = fmt.Errorf("%q is no number", clip(text))
		}
		if err != nil {
			return draw, fmt.Errorf("%s=: %w", word, err)
		}
		if !(*to > 0) || math.IsInf(*to, 0) {
			return draw, fmt.Errorf("%s=%s, want more than 0", word, clip(text))
		}
	}
	for _, w := range f.words {
		if !seen[w] {
			return draw, fmt.Errorf("%s without %s, want %s", f.kind, w, f.form(q))
		}
	}
	if f.kind == spec.Pareto && draw.B <= 1 && draw.Most == 0 {
		return draw, fmt.Errorf("shape=%v has no mean, want more than 1 or a tail that is cut by %s=", draw.B, most)
	}
	return draw, nil
}

// form is how the distribution is written.
func (f family) form(q quantity) string {
	var parts []string
	for i, w := range f.words {
		example := "1.5"
		if f.amount[i] {
			example = q.example
		}
		parts = append(parts, w+"="+example)
	}
	return f.kind + "(" + strings.Join(parts, ", ") + ")"
}

// empirical reads a file of lines of a value and the cumulative share at it, as
// published traffic studies have them; a share of 100 at the end says percent.
func (d *decoder) empirical(name string) (spec.Draw, error) {
	data, err := readFile(d.src.beside(name))
	if err != nil {
		return spec.Draw{}, err
	}
	draw := spec.Draw{Kind: spec.Empirical, File: name}
	lines := bufio.NewScanner(bytes.NewReader(data))
	for at := 1; lines.Scan(); at++ {
		f := strings.Fields(lines.Text())
		if len(f) == 0 || strings.HasPrefix(f[0], "#") {
			continue
		}
		value, share := math.NaN(), math.NaN()
		if len(f) == 2 {
			value, err = strconv.ParseFloat(f[0], 64)
			if err == nil {
				share, err = strconv.ParseFloat(f[1], 64)
			}
		}
		k := len(draw.Values)
		if err != nil || !(value >= 0) || !(share >= 0) || k > 0 && (value < draw.Values[k-1] || share < draw.Shares[k-1]) {
			return draw, fmt.Errorf("%s:%d: %q, want a value and a cumulative share, neither less than the line before", clip(name), at, clip(lines.Text()))
		}
		draw.Values, draw.Shares = append(draw.Values, value), append(draw.Shares, share)
	}
	n := len(draw.Shares)
	if n == 0 || draw.Shares[n-1] != 1 && draw.Shares[n-1] != 100 || draw.Values[n-1] == 0 {
		return draw, fmt.Errorf("%s ends before all is there, want a last share of 1 or 100", clip(name))
	}
	for i := range draw.Shares {
		draw.Shares[i] /= draw.Shares[n-1]
	}
	return draw, nil
}

// decodePopularity reads zipf(exponent, number).
func decodePopularity(d *decoder, n *yaml.Node, v reflect.Value, _ int) bool {
	const want = "zipf(exponent, number of destinations), such as zipf(1.1, 1000)"
	text, _, ok := d.scalar(n, want)
	if !ok {
		return false
	}
	var p spec.Popularity
	inside, begins := strings.CutPrefix(text, "zipf(")
	inside, ends := strings.CutSuffix(inside, ")")
	exponent, number, two := strings.Cut(inside, ",")
	var err1, err2 error
	p.Exponent, err1 = strconv.ParseFloat(strings.TrimSpace(exponent), 64)
	p.Number, err2 = strconv.Atoi(strings.ReplaceAll(strings.TrimSpace(number), "_", ""))
	if !begins || !ends || !two || err1 != nil || err2 != nil || !(p.Exponent >= 0) || p.Exponent > 10 || p.Number < 1 || p.Number > maxDestinations {
		d.fail(n, "", "%q: want %s, an exponent from 0 to 10 and 1 to %d of them", clip(text), want, maxDestinations)
		return false
	}
	v.Set(reflect.ValueOf(p))
	return true
}
