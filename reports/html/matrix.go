package html

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/homeward-lab/homeward/reports/picture"
	"github.com/homeward-lab/homeward/reports/record"
)

// matrix is whose reply went where: rows asked, columns saw. Where sites are
// many, a row is all instances of one name, and its own column is at home.
type matrix struct {
	Traffic string
	Columns []string
	Rows    []matrixRow
	// Home, Elsewhere, Unanswered and Total count flows.
	Home, Elsewhere, Unanswered, Total int
	// More is how many sites, or names of sites, are left out.
	More int
}

type matrixRow struct {
	Site  string
	Cells []cell
}

// cell is a number. Class is home, wrong, none or zero; Heat is 1 to 4, by
// its share of the row.
type cell struct {
	N     int
	Class string
	Heat  int
	Title string
}

// atHome is the column of replies that came home, where sites are gathered.
const atHome = "home"

// labels are what rows and columns are called.
type labels struct {
	row    func(site string) string
	column func(from, landed string) string
}

// each names every site by itself.
func each() labels {
	return labels{row: func(site string) string { return site }, column: func(_, landed string) string { return landed }}
}

// gathered names all instances of one name together: their own replies are
// home, those that another of them got are not.
func gathered(asked map[string]bool) labels {
	n := map[string]int{}
	for site := range asked {
		n[picture.Base(site)]++
	}
	return labels{
		row: func(site string) string {
			if base := picture.Base(site); n[base] > 1 {
				return fmt.Sprintf("%s ×%d", base, n[base])
			}
			return site
		},
		column: func(from, landed string) string {
			switch base := picture.Base(landed); {
			case landed == from:
				return atHome
			case special(landed):
				return landed
			case base == picture.Base(from) && n[base] > 1:
				return "another " + base
			default:
				return "a " + base
			}
		},
	}
}

func special(landed string) bool {
	return landed == picture.NoAnswer || landed == picture.Several || landed == picture.NotRecorded
}

// most bounds the sites of one matrix.
const most = picture.MostSites

func newMatrix(traffic string, flows []record.Flow, sites picture.Sites) matrix {
	m := matrix{Traffic: traffic, Total: len(flows)}
	asked, saw := map[string]bool{}, map[string]bool{}
	for _, f := range flows {
		from, to := sites.Of(f.Client), sites.Landing(f)
		asked[from] = true
		if !special(to) {
			saw[to] = true
		}
		switch to {
		case from:
			m.Home++
		case picture.NoAnswer:
			m.Unanswered++
		default:
			m.Elsewhere++
		}
	}
	names := each()
	if len(asked) > most || len(saw) > most {
		names = gathered(asked)
	}
	m.fill(flows, sites, names)
	return m
}

// fill counts flows by row and column.
func (m *matrix) fill(flows []record.Flow, sites picture.Sites, names labels) {
	counts, total := map[[2]string]int{}, map[string]int{}
	rows, columns := map[string]bool{}, map[string]bool{}
	home := map[string]string{} // a row's own column
	for _, f := range flows {
		from, to := sites.Of(f.Client), sites.Landing(f)
		row, column := names.row(from), names.column(from, to)
		counts[[2]string{row, column}]++
		total[row]++
		rows[row], columns[column] = true, true
		home[row] = names.column(from, from)
		columns[home[row]] = true
	}
	shown := sorted(rows)
	if len(shown) > most {
		m.More = len(shown) - most
		shown = shown[:most]
	}
	m.Columns = ordered(columns)
	for _, from := range shown {
		row := matrixRow{Site: from}
		for _, to := range m.Columns {
			row.Cells = append(row.Cells, newCell(from, to, home[from], counts[[2]string{from, to}], total[from]))
		}
		m.Rows = append(m.Rows, row)
	}
}

// ordered are columns: home first, then sites, then what is no site. There is
// always one for no answer.
func ordered(set map[string]bool) []string {
	rank := func(name string) int {
		return slices.Index([]string{atHome, "", picture.Several, picture.NotRecorded, picture.NoAnswer}, name)
	}
	var sites, rest []string
	for _, name := range sorted(set) {
		switch {
		case name == picture.NoAnswer:
		case rank(name) < 0:
			sites = append(sites, name)
		default:
			rest = append(rest, name)
		}
	}
	all := append(rest, append(sites[:min(len(sites), most)], picture.NoAnswer)...)
	slices.SortStableFunc(all, func(a, b string) int {
		of := func(name string) int {
			if r := rank(name); r >= 0 {
				return r
			}
			return 1
		}
		return cmp.Compare(of(a), of(b))
	})
	return all
}

// newCell is n of a row's total flows whose reply was seen at to; home is the
// row's own column.
func newCell(from, to, home string, n, total int) cell {
	where := "seen at " + to
	switch to {
	case atHome:
		where = "came home"
	case picture.NoAnswer:
		where = "seen by nobody"
	}
	c := cell{N: n, Class: "wrong", Title: fmt.Sprintf("%d of %d flows of %s: reply %s", n, total, from, where)}
	switch {
	case n == 0 && to == home:
		c.Class = "zero diagonal"
	case n == 0:
		c.Class = "zero"
	case to == home:
		c.Class = "home"
	case to == picture.NoAnswer || to == picture.NotRecorded:
		c.Class = "none"
	}
	if n > 0 {
		c.Heat = 1 + min(3, 4*n/max(total, 1))
	}
	return c
}

func sorted(set map[string]bool) []string {
	return slices.SortedFunc(maps.Keys(set), picture.Natural)
}
