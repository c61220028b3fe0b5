package main

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
)

// table is one kind of thing that a plan holds. The first cell of a row is a
// name of the scenario's, whose numbered parts a selector may mean at once.
type table struct {
	title  string
	header []string
	rows   [][]string
	// loose columns may differ between rows that are one.
	loose map[int]bool
}

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

// Unless all is asked for, more rows than gatherFrom are gathered, and at most
// rowsShown are shown.
const (
	gatherFrom = 6
	rowsShown  = 16
)

// print writes the table, or nothing if it is empty.
func (t *table) print(w io.Writer, all bool) {
	rows := t.rows
	if len(rows) == 0 {
		return
	}
	if !all && len(rows) > gatherFrom {
		rows = t.gathered()
	}
	left := 0
	if !all && len(rows) > rowsShown {
		left = len(rows) - rowsShown
		rows = rows[:rowsShown]
	}
	fmt.Fprintf(w, "\n%s\n", t.title)
	var text bytes.Buffer
	tw := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	for _, cells := range append([][]string{t.header}, rows...) {
		fmt.Fprintf(tw, "  %s\n", strings.Join(said(cells, rows), "\t"))
	}
	tw.Flush()
	for line := range strings.Lines(text.String()) {
		fmt.Fprintln(w, strings.TrimRight(line, " \n"))
	}
	if left > 0 {
		fmt.Fprintf(w, "  … and %d more (--all)\n", left)
	}
}

// said are a row's cells without the columns in which no row says anything.
func said(cells []string, rows [][]string) []string {
	var kept []string
	for i, c := range cells {
		if slices.ContainsFunc(rows, func(r []string) bool { return r[i] != "" }) {
			kept = append(kept, c)
		}
	}
	return kept
}

// gathered makes one of rows that differ in the numbers of their names, and in
// what may differ, alone.
func (t *table) gathered() [][]string {
	type group struct {
		row []string
		n   int
	}
	index := map[string]*group{}
	var groups []*group
	for _, r := range t.rows {
		key := selector(r[0])
		for i, c := range r {
			if i > 0 && !t.loose[i] {
				key += "\x00" + c
			}
		}
		g := index[key]
		if g == nil {
			g = &group{row: slices.Clone(r)}
			index[key] = g
			groups = append(groups, g)
		}
		g.n++
		for i := range r {
			if t.loose[i] && g.row[i] != r[i] {
				g.row[i] = "…"
			}
		}
	}
	var rows [][]string
	for _, g := range groups {
		if g.n > 1 {
			g.row[0] = fmt.Sprintf("%s ×%d", selector(g.row[0]), g.n)
		}
		rows = append(rows, g.row)
	}
	return rows
}

// selector is a name with a star for each number: shop.*.wan for shop.1.wan.
func selector(name string) string {
	parts := strings.Split(name, ".")
	for i, p := range parts {
		if _, err := strconv.Atoi(p); err == nil {
			parts[i] = "*"
		}
	}
	return strings.Join(parts, ".")
}
