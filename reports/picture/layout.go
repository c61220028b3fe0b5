package picture

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/homeward-lab/homeward/reports/record"
)

// Columns of the drawing, in its own units (about a pixel at 1400 wide).
const (
	width       = 1120.0
	siteX       = 18.0
	siteW       = 222.0
	siteH       = 84.0
	plainH      = 58.0 // of a card without a prefix
	transitX    = 344.0
	dcX         = 436.0
	dcW         = 348.0
	serverX     = dcX + 64
	serverW     = dcW - 84
	serverH     = 54.0
	rightX      = 880.0
	rightW      = 224.0
	top         = 44.0
	bottom      = 16.0
	gap         = 18.0
	dcHead      = 50.0
	accountHead = 28.0
	mostServers = 8 // of one datacenter
	hues        = 8
)

// geometry is a drawing while it grows: where boxes are, by id.
type geometry struct {
	d     Drawing
	sites Sites
	boxes map[string]Box
	// card is the box that stands for a site, device, connector or origin.
	card map[string]string
	// flows says that ways of flows will be drawn, which take the place of tunnels.
	flows bool
}

func newGeometry(rec *record.Records, flows bool) *geometry {
	t := rec.Run.Topology
	g := &geometry{boxes: map[string]Box{}, card: map[string]string{}, sites: NewSites(t), flows: flows, d: Drawing{Width: width}}
	left, right := g.gathered(rec)
	g.columns(left, right)
	g.datacenters(t)
	g.d.Height = max(stack(g.left()), stack(g.d.Datacenters), stack(g.right())) + bottom
	g.center()
	g.accounts(left)
	g.transits(t)
	for _, l := range t.Links {
		if g.flows || l.Class != "access" { // else the tunnels over it are drawn
			g.link(l)
		}
	}
	g.onramps(slices.Concat(left, right))
	g.legend()
	return g
}

// gathered are the cards of both columns, few enough to be seen.
func (g *geometry) gathered(rec *record.Records) (left, right []*unit) {
	asking := map[string]bool{}
	for _, f := range rec.Flows {
		asking[g.sites.Of(f.Client)] = true
	}
	var origins []*unit
	for _, u := range units(rec.Run.Topology, g.sites) {
		u.asks = asking[u.id()]
		switch u.kind {
		case "origin":
			origins = append(origins, u)
		case "connector":
			right = append(right, u)
		default:
			left = append(left, u)
		}
	}
	few := MostSites
	if !g.flows {
		few = fewPlain
	}
	left, moreLeft := gather(left, few)
	right, moreRight := gather(right, fewPlain)
	origins, moreOrigins := gather(origins, fewPlain)
	slices.SortStableFunc(left, func(a, b *unit) int {
		return cmp.Or(cmp.Compare(a.account, b.account), cmp.Compare(b.kind, a.kind)) // sites before devices
	})
	g.d.More = moreLeft + moreRight + moreOrigins
	return left, append(origins, right...)
}

// columns are the cards left and right.
func (g *geometry) columns(left, right []*unit) {
	holders := map[string]int{}
	accounts, vnets := map[string]bool{}, map[string]bool{}
	for _, u := range slices.Concat(left, right) {
		holders[u.prefix] += len(u.members)
		if u.kind != "origin" {
			accounts[u.account] = true
			vnets[u.vnet] = u.vnet != ""
		}
	}
	patterns := map[string]int{}
	place := func(list []*unit, x, w float64, hue int) {
		y := top
		for i, u := range list {
			if framed := len(accounts) > 1 && x == siteX; framed && i == 0 {
				y += accountHead
			} else if framed && list[i-1].account != u.account {
				y += accountHead + gap
			}
			b := Box{ID: u.id(), Kind: u.kind, Text: u.name(), By: u.by(), X: x, Y: y, W: w, H: plainH, Hue: g.hue(u, hue+i, accounts, vnets), Stacked: len(u.members) > 1, Right: x == rightX}
			b.Small = fitting("", u.hosts, w-32)
			switch {
			case u.kind == "site":
				b.Tag = u.kinds()
			case !defaultAlone(vnets):
				b.Tag = u.vnet
			}
			if u.kind == "device" && u.user != "" {
				b.Small = u.user
			}
			if u.kind == "connector" && len(accounts) > 1 {
				b.Small = strings.Trim(u.account+" · "+b.Small, " ·")
			}
			b.Text, b.Small = b.clip()
			if p := u.prefix; p != "" {
				b.H, b.Prefix = siteH, p
				if holders[p] > 1 {
					if patterns[p] == 0 {
						patterns[p] = len(patterns) + 1
					}
					b.Prefix, b.Pattern = fmt.Sprintf("%s ×%d", p, holders[p]), 1+(patterns[p]-1)%4
				}
			}
			for _, m := range u.members {
				g.card[m] = b.ID
			}
			g.boxes[b.ID] = b
			g.d.Cards = append(g.d.Cards, b)
			y += b.H + gap
		}
	}
	place(left, siteX, siteW, 0)
	place(right, rightX, rightW, len(left))
}

// hue is the colour number of the unit that is i-th: its own where flows have
// to be told apart, in a plain drawing of several accounts or virtual networks
// the one that it belongs to. Sites are in the default virtual network.
func (g *geometry) hue(u *unit, i int, accounts, vnets map[string]bool) int {
	switch {
	case g.flows:
	case len(accounts) > 1:
		return max(0, slices.Index(sorted(accounts), u.account)) % hues
	case !defaultAlone(vnets):
		named := maps.Clone(vnets)
		delete(named, "")
		named["default"] = true
		return slices.Index(sorted(named), cmp.Or(u.vnet, "default")) % hues
	}
	return i % hues
}

// defaultAlone says that virtual networks are not worth telling: there is none
// but the one that every account has.
func defaultAlone(vnets map[string]bool) bool {
	for name, named := range vnets {
		if named && name != "default" {
			return false
		}
	}
	return true
}

func (g *geometry) side(right bool) []Box {
	var some []Box
	for _, b := range g.d.Cards {
		if b.Right == right {
			some = append(some, b)
		}
	}
	return some
}

func (g *geometry) left() []Box  { return g.side(false) }
func (g *geometry) right() []Box { return g.side(true) }

// stack is the bottom of a column.
func stack(boxes []Box) float64 {
	if len(boxes) == 0 {
		return top
	}
	last := boxes[len(boxes)-1]
	return last.Y + last.H
}

// Widths of characters, about those of common fonts.
const (
	boldW = 8.2
	monoW = 6.9
)

// fitting joins as many of the texts as there is room for, and counts the rest.
func fitting(before string, texts []string, room float64) string {
	most := int(room / monoW)
	for n := len(texts); n > 0; n-- {
		text := before + strings.Join(texts[:n], ", ")
		if n < len(texts) {
			text += fmt.Sprintf(" +%d", len(texts)-n)
		}
		if len([]rune(text)) <= most {
			return text
		}
	}
	return cut(before+strings.Join(texts, ", "), most)
}

// cut shortens a text to at most so many characters.
func cut(text string, most int) string {
	if r := []rune(text); len(r) > most {
		return string(r[:max(1, most-1)]) + "…"
	}
	return text
}

// short joins the first n texts and says how many more there are.
func short(texts []string, n int) string {
	if len(texts) <= n {
		return strings.Join(texts, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(texts[:n], ", "), len(texts)-n)
}

// datacenters are cards with a card per server in them.
func (g *geometry) datacenters(t record.Topology) {
	servers, edge := map[string][]record.TopologyNode{}, map[string]string{}
	set := map[string]bool{}
	for _, node := range t.Nodes {
		switch node.Kind {
		case "server":
			servers[node.Datacenter] = append(servers[node.Datacenter], node)
			set[node.Datacenter] = true
		case "edge":
			if len(node.Addresses) > 0 {
				edge[node.Datacenter] = fitting("egress ", node.Addresses, dcW-76)
			}
			set[node.Datacenter] = true
		}
	}
	y := top
	for _, dc := range sortedByTraffic(set, t) {
		slices.SortFunc(servers[dc], func(a, b record.TopologyNode) int { return Natural(a.ID, b.ID) })
		b := Box{ID: "dc:" + dc, Text: dc, Small: edge[dc], X: dcX, Y: y, W: dcW}
		sy := y + dcHead
		for i, s := range servers[dc] {
			if i == mostServers {
				b.Tag = fmt.Sprintf("and %d more servers", len(servers[dc])-i)
				sy += gap
				break
			}
			sb := Box{ID: s.ID, Text: s.ID, Small: fitting("", s.Addresses, serverW-34), X: serverX, Y: sy, W: serverW, H: serverH}
			g.boxes[s.ID] = sb
			g.d.Servers = append(g.d.Servers, sb)
			sy += serverH + gap/2
		}
		b.H = sy + gap/2 - y
		g.boxes[b.ID] = b
		g.d.Datacenters = append(g.d.Datacenters, b)
		y = b.Y + b.H + gap*1.5
	}
}

// sortedByTraffic puts the datacenter of the first sites on top: fewer crossings.
func sortedByTraffic(set map[string]bool, t record.Topology) []string {
	all := sorted(set)
	first := map[string]string{} // the least site that lands there
	for _, node := range t.Nodes {
		if node.Site != "" && node.Datacenter != "" && (first[node.Datacenter] == "" || Natural(node.Site, first[node.Datacenter]) < 0) {
			first[node.Datacenter] = node.Site
		}
	}
	slices.SortStableFunc(all, func(a, b string) int {
		switch {
		case first[a] == "" && first[b] == "":
			return 0
		case first[a] == "":
			return 1
		case first[b] == "":
			return -1
		}
		return Natural(first[a], first[b])
	})
	return all
}

// center moves each column to the middle of the drawing and heads it.
func (g *geometry) center() {
	shift := func(boxes []Box, by float64, which func(Box) bool) {
		for i := range boxes {
			if which(boxes[i]) {
				boxes[i].Y += by
				g.boxes[boxes[i].ID] = boxes[i]
			}
		}
	}
	every := func(Box) bool { return true }
	free := func(boxes []Box) float64 { return (g.d.Height - bottom - stack(boxes)) / 2 }
	left, right, dc := free(g.left()), free(g.right()), free(g.d.Datacenters)
	shift(g.d.Cards, left, func(b Box) bool { return !b.Right })
	shift(g.d.Cards, right, func(b Box) bool { return b.Right })
	shift(g.d.Datacenters, dc, every)
	shift(g.d.Servers, dc, every)
	for _, h := range []struct {
		x             float64
		boxes         []Box
		first, second string
		kind          string // of the second
	}{
		{siteX, g.left(), "Sites", "Devices", "device"},
		{dcX, g.d.Datacenters, "Datacenters and their servers", "", ""},
		{rightX, g.right(), "Internet", "Private networks", "connector"},
	} {
		if text := heading(h.boxes, h.first, h.second, h.kind); text != "" {
			g.d.Headings = append(g.d.Headings, Text{X: h.x, Text: text})
		}
	}
}

// heading names a column by what is in it.
func heading(boxes []Box, first, second, kind string) string {
	var firsts, seconds bool
	for _, b := range boxes {
		if b.Kind == kind && kind != "" {
			seconds = true
		} else {
			firsts = true
		}
	}
	switch {
	case firsts && seconds:
		return first + " and " + strings.ToLower(second)
	case seconds:
		return second
	case firsts:
		return first
	}
	return ""
}

// accounts frames the cards of each account, where there are several.
func (g *geometry) accounts(left []*unit) {
	const margin = 12.0
	for i, u := range left {
		b := g.boxes[u.id()]
		n := len(g.d.Accounts)
		if i > 0 && left[i-1].account == u.account {
			if n > 0 {
				g.d.Accounts[n-1].H = b.Y + b.H + margin - g.d.Accounts[n-1].Y
			}
			continue
		}
		if left[0].account == left[len(left)-1].account { // sorted by account: there is one
			return
		}
		g.d.Accounts = append(g.d.Accounts, Box{ID: "account:" + u.account, Text: u.account, X: b.X - margin, Y: b.Y - accountHead, W: b.W + 2*margin, H: b.H + accountHead + margin, Hue: n % hues})
	}
}

// transits stand between sites and datacenters, level with the datacenter that
// they are linked to.
func (g *geometry) transits(t record.Topology) {
	var nodes []record.TopologyNode
	for _, node := range t.Nodes {
		if node.Kind == "transit" {
			nodes = append(nodes, node)
		}
	}
	level := func(id string) float64 {
		for _, l := range t.Links {
			for _, pair := range [][2]string{{l.A, l.B}, {l.B, l.A}} {
				if dc, ok := strings.CutSuffix(pair[1], ".edge"); pair[0] == id && ok {
					if b, ok := g.boxes["dc:"+dc]; ok {
						return b.CY()
					}
				}
			}
		}
		return g.d.Height / 2
	}
	slices.SortFunc(nodes, func(a, b record.TopologyNode) int {
		return cmp.Or(cmp.Compare(level(a.ID), level(b.ID)), Natural(a.ID, b.ID))
	})
	last := 0.0
	for _, node := range nodes {
		y := max(level(node.ID), last+40)
		last = y
		b := Box{ID: node.ID, Text: strings.TrimPrefix(node.ID, "transit."), X: transitX - 22, Y: y - 13, W: 44, H: 26}
		g.boxes[node.ID] = b
		g.d.Transits = append(g.d.Transits, b)
	}
}
