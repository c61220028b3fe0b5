package picture

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/homeward-lab/homeward/reports/record"
)

// Where a reply was seen, if at no site.
const (
	NoAnswer    = "no answer"
	Several     = "several"
	NotRecorded = "not recorded"
)

// Sites tells to which site a node belongs. A device or connector counts as one.
type Sites struct{ of map[string]string }

// NewSites reads them from a topology.
func NewSites(t record.Topology) Sites {
	s := Sites{of: map[string]string{}}
	for _, node := range t.Nodes {
		if node.Site != "" {
			s.of[node.ID] = node.Site
		}
	}
	return s
}

// Of is the site of a node, or the node itself if it belongs to none.
func (s Sites) Of(node string) string {
	if site, ok := s.of[node]; ok {
		return site
	}
	return node
}

// Landing is the site where a flow's reply was seen, or one of the words above.
// A flow that broke has no answer, even if the beginning of one came home.
func (s Sites) Landing(f record.Flow) string {
	if f.Result != record.OK && f.Result != record.Misdelivered {
		return NoAnswer
	}
	var sites []string
	for node := range strings.SplitSeq(f.DeliveredTo, ",") {
		if node = strings.TrimSpace(node); node != "" {
			sites = append(sites, s.Of(node))
		}
	}
	slices.Sort(sites)
	switch sites = slices.Compact(sites); {
	case len(sites) > 1:
		return Several
	case len(sites) == 1:
		return sites[0]
	case f.Result == record.OK:
		return NotRecorded // answered, so somebody saw it
	}
	return NoAnswer
}

// Natural orders shop.2 before shop.10.
func Natural(a, b string) int {
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

// Base is what equal instances share in their names: shop for shop.12.
func Base(name string) string {
	i := strings.LastIndexByte(name, '.')
	if i < 0 {
		return name
	}
	if _, err := strconv.Atoi(name[i+1:]); err != nil {
		return name
	}
	return name[:i]
}

func sorted(set map[string]bool) []string {
	return slices.SortedFunc(maps.Keys(set), Natural)
}
