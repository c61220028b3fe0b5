package main

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Equal rows are one, what may differ is left open, columns that say nothing
// are left out, and what is cut off is counted.
func TestTable(t *testing.T) {
	shops := func(n int) *table {
		t := &table{title: "On-ramps", header: []string{"NAME", "ACCOUNT", "OUTER", "BY"}, loose: map[int]bool{2: true}}
		for i := 1; i <= n; i++ {
			by := "ARR"
			if i == 2 {
				by = "routes"
			}
			t.add(fmt.Sprintf("shop.%d.wan", i), "", fmt.Sprintf("198.19.0.%d", i), by)
		}
		return t
	}
	distinct := &table{title: "Prefixes", header: []string{"NAME"}}
	for i := range rowsShown + 3 {
		distinct.add(fmt.Sprintf("p%d", i))
	}
	for name, tt := range map[string]struct {
		table *table
		all   bool
		want  []string // lines, or the last one alone
	}{
		"few": {shops(2), false, []string{"", "On-ramps", "  NAME        OUTER       BY", "  shop.1.wan  198.19.0.1  ARR", "  shop.2.wan  198.19.0.2  routes"}},
		"many": {shops(gatherFrom + 1), false, []string{"", "On-ramps", "  NAME           OUTER       BY",
			fmt.Sprintf("  shop.*.wan ×%d  …           ARR", gatherFrom), "  shop.2.wan     198.19.0.2  routes"}},
		"all":       {shops(gatherFrom + 1), true, []string{fmt.Sprintf("  shop.%d.wan  198.19.0.%d  ARR", gatherFrom+1, gatherFrom+1)}},
		"too many":  {distinct, false, []string{"  … and 3 more (--all)"}},
		"all there": {distinct, true, []string{fmt.Sprintf("  p%d", rowsShown+2)}},
		"nothing":   {&table{title: "None", header: []string{"NAME"}}, false, nil},
	} {
		var b bytes.Buffer
		tt.table.print(&b, tt.all)
		got := strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
		if b.Len() == 0 {
			got = nil
		}
		if len(tt.want) == 1 {
			got = got[len(got)-1:]
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
