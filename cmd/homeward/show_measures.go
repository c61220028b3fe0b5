package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/homeward-lab/homeward/reports/check"
)

// showMeasures prints what a scenario's checks can ask for.
func showMeasures(w io.Writer, v *variant) {
	env := environment(v.spec, nil)
	header := []string{"MEASURE", "TYPE", "WHAT"}
	ofTraffic := &table{title: "Of each traffic, and of all of it", header: header}
	ofRun := &table{title: "Of the whole run", header: header}
	for _, m := range check.Guide(env) {
		if rest, ok := strings.CutPrefix(m.Name, "all."); ok {
			ofTraffic.add("<traffic>."+rest, m.Type, m.About)
		} else {
			ofRun.add(m.Name, m.Type, m.About)
		}
	}
	fmt.Fprintf(w, "Traffic: %s\n", strings.Join(append(env.Traffic, "all"), ", "))
	ofTraffic.print(w, true)
	ofRun.print(w, true)
}
