package record

import (
	"cmp"
	"slices"
)

// Study is what a study found: the same bytes however its work was spread.
type Study struct {
	Name        string `json:"name"`
	Title       string `json:"title,omitempty"`
	Description string `json:"description,omitempty"`
	Scenario    string `json:"scenario"`
	Level       string `json:"level"`
	Seed        uint64 `json:"seed"`
	// Version of the program, on which numbers depend.
	Version string `json:"version"`
	// Partial says how many of the tasks that were asked for were done when this was
	// written, if not all.
	Partial string `json:"partial,omitempty"`
	// Limits of the model, which go wherever its numbers go.
	Limits []string `json:"limits"`
	// Notes on how the numbers came about.
	Notes []string `json:"notes,omitempty"`
	// Knobs are the names of what varies, in the order of StudyPoint.Values.
	Knobs    []string       `json:"knobs,omitempty"`
	Measures []StudyMeasure `json:"measures"`
	// Shown are the measures that the study is about; none means the first ones.
	Shown  []string     `json:"shown,omitempty"`
	Points []StudyPoint `json:"points"`
	// Reference is the point that differences are from.
	Reference string `json:"reference,omitempty"`
	// Expected are measures over all states of failure, weighed by how likely each is.
	Expected []StudyExpected `json:"expected,omitempty"`
	Answers  []StudyAnswer   `json:"answers,omitempty"`
	Tornado  *StudyTornado   `json:"tornado,omitempty"`
}

// Columns are the measures that tables show: those that the study is about, else the
// first most ones.
func (s *Study) Columns(most int) []StudyMeasure {
	var out []StudyMeasure
	for _, m := range s.Measures {
		if len(out) < most && (len(s.Shown) == 0 || slices.Contains(s.Shown, m.Name)) {
			out = append(out, m)
		}
	}
	return out
}

// StudyMeasure says what a measure is.
type StudyMeasure struct {
	Name string `json:"name"`
	Unit string `json:"unit,omitempty"`
	Text string `json:"text,omitempty"`
}

// StudyPoint is one combination of what varies, over its replicas.
type StudyPoint struct {
	ID   string `json:"id"`
	Case string `json:"case,omitempty"`
	// Values of the knobs.
	Values []string `json:"values,omitempty"`
	// Down are the datacenters that fail.
	Down []string `json:"down,omitempty"`
	// Topologies and Replicas that the numbers rest on.
	Topologies int             `json:"topologies"`
	Replicas   int             `json:"replicas"`
	Estimates  []StudyEstimate `json:"estimates"`
	// Differences from the reference, with the same random numbers.
	Differences []StudyEstimate       `json:"differences,omitempty"`
	Tables      map[string]StudyTable `json:"tables,omitempty"`
	// Why says what measures come from, of the first replica.
	Why map[string][]string `json:"why,omitempty"`
}

// Estimate is a measure's estimate.
func (p *StudyPoint) Estimate(measure string) (StudyEstimate, bool) {
	i := slices.IndexFunc(p.Estimates, func(e StudyEstimate) bool { return e.Measure == measure })
	if i < 0 {
		return StudyEstimate{}, false
	}
	return p.Estimates[i], true
}

// StudyEstimate is a mean and how sure it is.
type StudyEstimate struct {
	Measure string  `json:"measure"`
	Mean    float64 `json:"mean"`
	// Half of the interval's width; nil if there is no interval, and Refused says why.
	Half    *float64 `json:"half,omitempty"`
	Refused string   `json:"refused,omitempty"`
	Level   float64  `json:"level,omitempty"`
	// N independent values; Least and Greatest of them.
	N        int     `json:"n"`
	Least    float64 `json:"least"`
	Greatest float64 `json:"greatest"`
	// Note says what was done to get it: warm-up cut off, a control variate.
	Note string `json:"note,omitempty"`
}

// StudyTable is a table of an outcome: rows by their key, values averaged over
// replicas.
type StudyTable struct {
	Keys    []string   `json:"keys"`
	Columns []string   `json:"columns"`
	Rows    []StudyRow `json:"rows"`
}

// StudyRow is one row; Greatest is the high-water mark of each value over replicas.
type StudyRow struct {
	Key      []string  `json:"key"`
	Values   []float64 `json:"values"`
	Greatest []float64 `json:"greatest,omitempty"`
}

// Sort orders rows by key.
func (t *StudyTable) Sort() {
	slices.SortFunc(t.Rows, func(a, b StudyRow) int { return slices.Compare(a.Key, b.Key) })
}

// SortBy orders rows by a column, the greatest first.
func (t *StudyTable) SortBy(column string) {
	i := slices.Index(t.Columns, column)
	if i < 0 {
		return
	}
	slices.SortStableFunc(t.Rows, func(a, b StudyRow) int {
		return cmp.Or(cmp.Compare(b.Values[i], a.Values[i]), slices.Compare(a.Key, b.Key))
	})
}

// Value is a row's value in a column; 0 if there is no such column.
func (t *StudyTable) Value(r StudyRow, column string) float64 {
	if i := slices.Index(t.Columns, column); i >= 0 && i < len(r.Values) {
		return r.Values[i]
	}
	return 0
}

// StudyExpected is a measure over all states of failure.
type StudyExpected struct {
	Case    string   `json:"case,omitempty"`
	Values  []string `json:"values,omitempty"`
	Measure string   `json:"measure"`
	// Mean over the states that were computed, and Half of its interval, nil if one of
	// theirs has none.
	Mean float64  `json:"mean"`
	Half *float64 `json:"half,omitempty"`
	// Beyond is how likely states are that were not: more datacenters down at once.
	Beyond float64 `json:"beyond"`
}

// StudyAnswer is the answer of an inverse question.
type StudyAnswer struct {
	ID       string `json:"id"`
	Question string `json:"question"`
	Where    string `json:"where,omitempty"`
	// Answer is the last value at which the condition surely holds; empty if none does.
	Answer string `json:"answer,omitempty"`
	// From and To bound the truth as far as noise lets it be seen.
	From string `json:"from"`
	To   string `json:"to"`
	// Verdict says it in words.
	Verdict string     `json:"verdict"`
	Tried   []StudyTry `json:"tried"`
}

// StudyTry is a value that the search looked at.
type StudyTry struct {
	Value    string        `json:"value"`
	Estimate StudyEstimate `json:"estimate"`
	// Holds is yes, no or unsure.
	Holds string `json:"holds"`
}

// StudyTornado is what each assumption does to one answer.
type StudyTornado struct {
	Condition string        `json:"condition"`
	Base      StudyEstimate `json:"base"`
	Holds     string        `json:"holds"`
	// Bars, the widest first.
	Bars []StudyBar `json:"bars"`
}

// StudyBar is one knob at its least and its greatest value.
type StudyBar struct {
	Knob  string   `json:"knob"`
	Low   StudyTry `json:"low"`
	High  StudyTry `json:"high"`
	Flips bool     `json:"flips"`
}
