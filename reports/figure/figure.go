// Package figure is a figure that was measured, beside what it is compared with.
//
// Its law: a ratio says how many times better the figure is than its baseline,
// whether much of it is good or little.
package figure

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
)

// Row is one figure of a bench, as `homeward bench --json` prints it. Cost and
// Rate make one.
type Row struct {
	ID    string
	Value float64
	Unit  string
	// Baseline says what the figure is compared with; empty if with nothing.
	// Where it cannot run, it says so, and BaselineValue and Ratio are 0.
	Baseline      string
	BaselineValue float64
	// Ratio is how many times better than the baseline; 0 without one.
	Ratio float64
	// Equal says whether results were compared before speed was, and agree; nil
	// where there is nothing to compare.
	Equal *bool
	// Goal is nil where nothing is asked of the figure.
	Goal *Goal

	rate bool // the more the better
}

// Goal is a bound of a figure.
type Goal struct {
	// Of is what it bounds: "value", or "ratio", which should be at least so much.
	Of  string
	Is  float64
	Met bool
}

// Cost is a figure of which little is good: time, memory.
func Cost(id string, value float64, unit string) Row { return Row{ID: id, Value: value, Unit: unit} }

// Rate is a figure of which much is good.
func Rate(id string, value float64, unit string) Row {
	return Row{ID: id, Value: value, Unit: unit, rate: true}
}

// Beside is the row with what it is compared with, in the same unit. A value that
// is not positive was not measured.
func (r Row) Beside(baseline string, value float64) Row {
	r.Baseline = baseline
	if value <= 0 || r.Value <= 0 {
		return r
	}
	r.BaselineValue, r.Ratio = value, value/r.Value
	if r.rate {
		r.Ratio = r.Value / value
	}
	return r
}

// Checked is the row with whether the results agree.
func (r Row) Checked(equal bool) Row {
	r.Equal = &equal
	return r
}

// Bound is the row with a goal in its unit: the most of a cost, the least of a
// rate.
func (r Row) Bound(is float64) Row {
	r.Goal = &Goal{"value", is, r.Value <= is}
	if r.rate {
		r.Goal.Met = r.Value >= is
	}
	return r
}

// Times is the row with a goal of its ratio, which is a least one. Without a
// baseline, or a goal (0), nothing is asked.
func (r Row) Times(is float64) Row {
	if r.Ratio > 0 && is > 0 {
		r.Goal = &Goal{"ratio", is, r.Ratio >= is}
	}
	return r
}

// MarshalJSON writes every field; what there is not is null.
func (r Row) MarshalJSON() ([]byte, error) {
	type row struct {
		ID            string   `json:"id"`
		Value         float64  `json:"value"`
		Unit          string   `json:"unit"`
		Baseline      *string  `json:"baseline"`
		BaselineValue *float64 `json:"baseline_value"`
		Ratio         *float64 `json:"ratio"`
		Goal          *float64 `json:"goal"`
		GoalOf        *string  `json:"goal_of"`
		Met           *bool    `json:"met"`
		Equal         *bool    `json:"equal"`
	}
	out := row{ID: r.ID, Value: r.Value, Unit: r.Unit, Equal: r.Equal}
	if r.Baseline != "" {
		out.Baseline = &r.Baseline
	}
	if r.BaselineValue > 0 {
		out.BaselineValue, out.Ratio = &r.BaselineValue, &r.Ratio
	}
	if r.Goal != nil {
		out.Goal, out.GoalOf, out.Met = &r.Goal.Is, &r.Goal.Of, &r.Goal.Met
	}
	return json.Marshal(out)
}

// Figure is the value with its unit.
func (r Row) Figure() string { return figure(r.Value, r.Unit) }

// BaselineFigure is the baseline with its unit and name, or a dash.
func (r Row) BaselineFigure() string {
	switch {
	case r.Baseline == "":
		return "-"
	case r.BaselineValue == 0: // it could not be measured here
		return r.Baseline
	}
	return figure(r.BaselineValue, r.Unit) + " " + r.Baseline
}

// RatioFigure is the ratio, or a dash.
func (r Row) RatioFigure() string {
	if r.Ratio == 0 {
		return "-"
	}
	return times(r.Ratio)
}

// Verdict is the goal and whether it was met, or a dash; and a warning where
// results were compared and differ.
func (r Row) Verdict() string {
	warning := ""
	if r.Equal != nil && !*r.Equal {
		warning = " WRONG RESULTS"
	}
	if r.Goal == nil {
		return "-" + warning
	}
	verdict, bound, is := "missed", "≤", figure(r.Goal.Is, r.Unit)
	if r.Goal.Met {
		verdict = "met"
	}
	if r.rate || r.Goal.Of == "ratio" {
		bound = "≥"
	}
	if r.Goal.Of == "ratio" {
		is = times(r.Goal.Is)
	}
	return verdict + " " + bound + " " + is + warning
}

func times(v float64) string {
	switch {
	case v >= 10:
		return fmt.Sprintf("%.0f×", v)
	case v >= 1:
		return fmt.Sprintf("%.2f×", v)
	}
	return fmt.Sprintf("%.2g×", v)
}

func figure(v float64, unit string) string {
	if v != 0 && math.Abs(v) < 1 {
		return fmt.Sprintf("%.2g %s", v, unit)
	}
	return strings.TrimRight(strings.TrimRight(fmt.Sprintf("%.1f", v), "0"), ".") + " " + unit
}
