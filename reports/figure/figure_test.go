package figure

import (
	"encoding/json"
	"testing"
)

// A ratio is of how much better, a goal says which way it bounds and what of, and
// what there is not is null.
func TestRow(t *testing.T) {
	for _, c := range []struct {
		row                           Row
		figure, ratio, verdict, wrote string
	}{
		{
			Cost("a", 50, "ns").Beside("route", 100).Times(1.3).Checked(true), "50 ns", "2.00×", "met ≥ 1.30×",
			`{"id":"a","value":50,"unit":"ns","baseline":"route","baseline_value":100,"ratio":2,"goal":1.3,"goal_of":"ratio","met":true,"equal":true}`,
		},
		{
			Rate("b", 2, "Mpps").Beside("route", 8).Times(0.7).Checked(false), "2 Mpps", "0.25×", "missed ≥ 0.7× WRONG RESULTS",
			`{"id":"b","value":2,"unit":"Mpps","baseline":"route","baseline_value":8,"ratio":0.25,"goal":0.7,"goal_of":"ratio","met":false,"equal":false}`,
		},
		{
			Cost("c", 0.0123, "s").Bound(0.025), "0.012 s", "-", "met ≤ 0.025 s",
			`{"id":"c","value":0.0123,"unit":"s","baseline":null,"baseline_value":null,"ratio":null,"goal":0.025,"goal_of":"value","met":true,"equal":null}`,
		},
		{
			Rate("d", 6.91, "flows/s").Beside("by hand", 0.1).Bound(5), "6.9 flows/s", "69×", "met ≥ 5 flows/s",
			`{"id":"d","value":6.91,"unit":"flows/s","baseline":"by hand","baseline_value":0.1,"ratio":69.1,"goal":5,"goal_of":"value","met":true,"equal":null}`,
		},
		{ // the baseline cannot run here: no ratio, and so nothing asked of it
			Cost("e", 4, "ms").Beside("mininet: not installed", 0).Times(25), "4 ms", "-", "-",
			`{"id":"e","value":4,"unit":"ms","baseline":"mininet: not installed","baseline_value":null,"ratio":null,"goal":null,"goal_of":null,"met":null,"equal":null}`,
		},
		{
			Cost("f", 0, "allocs").Bound(0), "0 allocs", "-", "met ≤ 0 allocs",
			`{"id":"f","value":0,"unit":"allocs","baseline":null,"baseline_value":null,"ratio":null,"goal":0,"goal_of":"value","met":true,"equal":null}`,
		},
	} {
		wrote, err := json.Marshal(c.row)
		if err != nil {
			t.Fatal(err)
		}
		if c.row.Figure() != c.figure || c.row.RatioFigure() != c.ratio || c.row.Verdict() != c.verdict || string(wrote) != c.wrote {
			t.Errorf("%q %q %q\n%s\nwant %q %q %q\n%s", c.row.Figure(), c.row.RatioFigure(), c.row.Verdict(), wrote, c.figure, c.ratio, c.verdict, c.wrote)
		}
	}
}
