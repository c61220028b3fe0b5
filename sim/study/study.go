// Package study asks a model what happens when something about it changes: points in
// a space of settings, each repeated over topologies and seeds, and how sure every
// number is.
//
// It does not know what is simulated: a Model is made for each Point, and a Sweep
// carries tasks to wherever they are done. Its law: a study that is run again gives
// the same bytes, whoever did the work, and a number without a sound interval says
// why it has none.
package study

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"

	"github.com/homeward-lab/homeward/reports/record"
	"github.com/homeward-lab/homeward/topologies/spec"
)

// Point is one combination of settings.
type Point struct {
	Case string `json:"case"`
	// Values of the study's knobs, as text.
	Values []string `json:"values,omitempty"`
	// Down are the datacenters that fail.
	Down []string `json:"down,omitempty"`
	// Also are settings beyond the study's knobs, of questions and sensitivity.
	Also []spec.Setting `json:"also,omitempty"`
}

// Replica is one repetition of a point. Replicas of the same number have the same
// seeds in every point: common random numbers.
type Replica struct {
	Topology int `json:"topology"`
	Seed     int `json:"seed"`
}

// Draw is the number that a replica's topology or traffic is drawn from.
func Draw(seed uint64, purpose string, n int) uint64 {
	h := fnv.New64a()
	fmt.Fprintf(h, "%d %s %d", seed, purpose, n)
	return h.Sum64()>>1 | 1 // scenarios write seeds as positive numbers
}

// Outcome is what one replica of a point found.
type Outcome struct {
	// Measures by name. One that has no value is left out.
	Measures map[string]float64 `json:"measures"`
	// Of is how many independent trials a measure counts its share of, where it does.
	Of map[string]float64 `json:"of,omitempty"`
	// Series are values of a measure in their order in time, whose mean it is.
	Series map[string][]float64 `json:"series,omitempty"`
	// Controls of a measure: a number that chance moved with it, and whose expectation
	// is known.
	Controls map[string]Control `json:"controls,omitempty"`
	// Tables for reports.
	Tables map[string]record.StudyTable `json:"tables,omitempty"`
	// Why says what measures come from.
	Why map[string][]string `json:"why,omitempty"`
}

// Control is a control variate.
type Control struct {
	Value    float64 `json:"value"`
	Expected float64 `json:"expected"`
}

// Model is one point of a study, ready to run.
type Model interface {
	// Run does one replica. The same replica gives the same outcome.
	Run(ctx context.Context, r Replica) (*Outcome, error)
}

// Maker makes models. It is used by several goroutines.
type Maker interface {
	// Model of a point.
	Model(ctx context.Context, p Point) (Model, error)
	// Measures are all names that outcomes can have, in the order of tables.
	Measures() []record.StudyMeasure
	// Limits of the model, for every report.
	Limits() []string
}

// Task is one replica of one point.
type Task struct {
	Point   Point   `json:"point"`
	Replica Replica `json:"replica"`
}

// ID names the task within its study.
func (t Task) ID() string {
	body, err := json.Marshal(t)
	if err != nil {
		panic(err) // strings and numbers
	}
	h := fnv.New128a()
	h.Write(body)
	return fmt.Sprintf("%x", h.Sum(nil))
}

// Do does a task's work: it is what workers run. A body that cannot be done is an
// error in the answer, because it would fail everywhere.
func Do(ctx context.Context, m Maker, body []byte) []byte {
	answer := struct {
		Outcome *Outcome `json:"outcome,omitempty"`
		Error   string   `json:"error,omitempty"`
	}{}
	var t Task
	err := json.Unmarshal(body, &t)
	if err == nil {
		var model Model
		if model, err = m.Model(ctx, t.Point); err == nil {
			answer.Outcome, err = model.Run(ctx, t.Replica)
		}
	}
	if err != nil {
		answer.Outcome, answer.Error = nil, err.Error()
	}
	out, err := json.Marshal(answer)
	if err != nil { // a measure that is no number
		out, _ = json.Marshal(map[string]string{"error": fmt.Sprintf("%s: %v", t.Point.Label(nil), err)})
	}
	return out
}

// result reads what Do has written.
func result(body []byte) (*Outcome, error) {
	var answer struct {
		Outcome *Outcome
		Error   string
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return nil, fmt.Errorf("a task's answer: %w", err)
	}
	if answer.Error != "" || answer.Outcome == nil {
		return nil, fmt.Errorf("%s", cmp.Or(answer.Error, "a task without an outcome"))
	}
	return answer.Outcome, nil
}

// Label is what people call the point, by the names of its knobs.
func (p Point) Label(knobs []string) string {
	var parts []string
	if p.Case != "" && p.Case != spec.Base {
		parts = append(parts, p.Case)
	}
	for i, v := range p.Values {
		name := fmt.Sprint(i)
		if i < len(knobs) {
			name = knobs[i]
		}
		parts = append(parts, name+"="+v)
	}
	for _, s := range p.Also {
		parts = append(parts, s.Path+"="+s.Value)
	}
	if len(p.Down) > 0 {
		parts = append(parts, "down: "+strings.Join(p.Down, " and "))
	}
	if len(parts) == 0 {
		return spec.Base
	}
	return strings.Join(parts, ", ")
}

// Settings are what the point sets, in the order in which they are applied.
func (p Point) Settings(s *spec.Study) []spec.Setting {
	all := slices.Clone(s.Set)
	for _, c := range s.Cases {
		if c.Name == p.Case {
			all = append(all, c.Set...)
		}
	}
	for i, k := range s.Vary {
		if i < len(p.Values) {
			all = append(all, spec.Setting{Path: k.Set, Value: p.Values[i]})
		}
	}
	return append(all, p.Also...)
}

// Variant of the scenario that the point starts from.
func (p Point) Variant(s *spec.Study) string {
	for _, c := range s.Cases {
		if c.Name == p.Case {
			return cmp.Or(c.Variant, spec.Base)
		}
	}
	return spec.Base
}
