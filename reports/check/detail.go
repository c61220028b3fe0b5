package check

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/homeward-lab/homeward/reports/record"
)

// detail shows the measures that the expression uses: "same.misdelivered = 2 of 3".
func (c *Check) detail(all values) string {
	var parts []string
	told := map[string]bool{} // totals that stand behind an "of" already
	for _, name := range c.used {
		if d := c.schema[name]; d.of != "" {
			told[d.of] = true
		}
	}
	for _, name := range c.used {
		if told[name] {
			continue
		}
		parts = append(parts, name+" = "+show(all, name, c.schema[name]))
	}
	return strings.Join(parts, ", ")
}

// show prints a value with its unit, or why there is none.
func show(all values, name string, d def) string {
	x, ok := all[name]
	switch {
	case !ok || x.err != nil:
		return "no value"
	case d.of != "":
		return fmt.Sprintf("%v of %v", x.v, all[d.of].v)
	}
	if f, ok := x.v.(float64); ok {
		return strconv.FormatFloat(f, 'g', 4, 64) + d.unit
	}
	return fmt.Sprintf("%v%s", x.v, d.unit)
}

// example names the first flow of the traffic in used that did not go well, so
// that a person can ask for its life.
func example(used []string, run *record.Records) string {
	var traffic []string
	for _, name := range used {
		id, _, _ := strings.Cut(name, ".")
		traffic = append(traffic, id)
	}
	for _, f := range run.Flows {
		if f.Result == record.OK || !slices.Contains(traffic, f.Traffic) && !slices.Contains(traffic, "all") {
			continue
		}
		text := fmt.Sprintf("; for example %s#%d of %s is %s", f.Traffic, f.N, f.Client, f.Result)
		if f.DeliveredTo != "" && f.DeliveredTo != f.Client {
			text += ", its reply seen at " + f.DeliveredTo
		} else if f.Reason != "" {
			text += ": " + f.Reason
		}
		return text
	}
	return ""
}
