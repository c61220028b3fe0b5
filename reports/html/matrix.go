package html

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/homeward-lab/homeward/reports/record"
)

const (
	unanswered = "no answer"
	several    = "several"
	unknown    = "not recorded"
)

// names tells to which site a node belongs.
type names struct {
	site map[string]string
	// sites in natural order.
	sites []string
}

func newNames(t record.Topology) names {
	n := names{site: map[string]string{}}
	for _, node := range t.Nodes {
		if node.Site != "" {
			n.site[node.ID] = node.Site
			n.sites = append(n.sites, node.Site)
		}
	}
	slices.SortFunc(n.sites, natural)
	n.sites = slices.Compact(n.sites)
	return n
}

// of is the site of a node, or the node itself if it belongs to none.
func (n names) of(node string) string {
	if s, ok := n.site[node]; ok {
		return s
	}
	return node
}

// landing is the column of a flow: the site where its reply was seen. A flow
// that broke has no answer, even if the beginning of one came home.
func (n names) landing(f record.Flow) string {
	if f.Result != record.OK && f.Result != record.Misdelivered {
		return unanswered
	}
	var sites []string
	for node := range strings.SplitSeq(f.DeliveredTo, ",") {
		if node = strings.TrimSpace(node); node != "" {
			sites = append(sites, n.of(node))
		}
	}
	slices.Sort(sites)
	switch sites = slices.Compact(sites); {
	case len(sites) > 1:
		return several
	case len(sites) == 1:
		return sites[0]
	case f.Result == record.OK:
		return unknown // answered, so somebody saw it
	}
	return unanswered
}

// natural orders shop.2 before shop.10.
func natural(a, b string) int {
	as, bs := strings.Split(a, "."), strings.Split(b, ".")
	for i := 0; i < len(as) && i < len(bs); i++ {
		x, errX := strconv.Atoi(as[i])
		y, errY := strconv.Atoi(bs[i])
		if errX == nil && errY == nil && x != y {
			return x - y
		}
		if c := strings.Compare(as[i], bs[i]); c != 0 {
			return c
		}
	}
	return len(as) - len(bs)
}

// matrix is whose reply went where: rows asked, columns saw.
type matrix struct {
	Traffic string
	Columns []string
	Rows    []matrixRow
	// Home, Elsewhere, Unanswered and Total count flows.
	Home, Elsewhere, Unanswered, Total int
	// More is how many sites are left out.
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

// mostSites bounds the sites of one matrix or drawing.
const mostSites = 12

func newMatrix(traffic string, flows []record.Flow, n names) matrix {
	m := matrix{Traffic: traffic, Total: len(flows)}
	counts := map[[2]string]int{}
	asked, saw, total := map[string]bool{}, map[string]bool{}, map[string]int{}
	for _, f := range flows {
		from, to := n.of(f.Client), n.landing(f)
		counts[[2]string{from, to}]++
		asked[from], saw[to] = true, true
		total[from]++
		switch to {
		case from:
			m.Home++
		case unanswered:
			m.Unanswered++
		default:
			m.Elsewhere++
		}
	}
	rows := sorted(asked)
	columns := slices.Clone(rows)
	for _, s := range sorted(saw) {
		if !slices.Contains(columns, s) && s != unanswered && s != several && s != unknown {
			columns = append(columns, s)
		}
	}
	slices.SortFunc(columns, natural)
	if len(rows) > mostSites {
		m.More = len(rows) - mostSites
		rows = rows[:mostSites]
	}
	if len(columns) > mostSites {
		columns = columns[:mostSites]
	}
	for _, extra := range []string{several, unknown} {
		if saw[extra] {
			columns = append(columns, extra)
		}
	}
	m.Columns = append(columns, unanswered)
	for _, from := range rows {
		row := matrixRow{Site: from}
		for _, to := range m.Columns {
			row.Cells = append(row.Cells, newCell(from, to, counts[[2]string{from, to}], total[from]))
		}
		m.Rows = append(m.Rows, row)
	}
	return m
}

func newCell(from, to string, n, total int) cell {
	c := cell{N: n, Class: "wrong", Title: fmt.Sprintf("%d of %d flows of %s: reply seen at %s", n, total, from, to)}
	switch {
	case n == 0:
		c.Class = "zero"
	case to == from:
		c.Class = "home"
	case to == unanswered || to == unknown:
		c.Class = "none"
	}
	if to == from && n == 0 {
		c.Class = "zero diagonal"
	}
	if n > 0 {
		c.Heat = 1 + min(3, 4*n/max(total, 1))
	}
	return c
}

func sorted(set map[string]bool) []string {
	var all []string
	for s := range set {
		all = append(all, s)
	}
	slices.SortFunc(all, natural)
	return all
}
