package picture

import (
	"bytes"
	"encoding/xml"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/homeward-lab/homeward/reports/fixture"
	"github.com/homeward-lab/homeward/reports/record"
)

var keep = flag.String("keep", "", "also write the picture of the mixed network to this file, to look at it")

var keepFlows = flag.String("keep-flows", "", "the same with flows, as a page")

// mixed has one of everything: two accounts, every kind of on-ramp, virtual
// networks.
func mixed() record.Topology {
	t := record.Topology{
		Nodes: []record.TopologyNode{
			{ID: "lhr.edge", Kind: "edge", Datacenter: "lhr", Addresses: []string{"198.51.100.0/31"}},
			{ID: "transit.lhr", Kind: "transit", Datacenter: "lhr"},
			{ID: "web", Kind: "origin", Datacenter: "lhr", Addresses: []string{"203.0.113.9"}},
			{ID: "db", Kind: "connector", Site: "db", Datacenter: "lhr", Account: "south", VNet: "red", Prefix: "10.0.1.0/24"},
			{ID: "db.pg", Kind: "host", Site: "db", Datacenter: "lhr", Account: "south", Prefix: "10.0.1.0/24", Addresses: []string{"10.0.1.9"}},
			{ID: "laptop.1", Kind: "device", Datacenter: "lhr", Account: "south", VNet: "red", User: "ann@example.com", Addresses: []string{"100.96.0.1"}},
			{ID: "laptop.2", Kind: "device", Datacenter: "lhr", Account: "south", VNet: "default", User: "bob@example.com", Addresses: []string{"100.96.0.2"}},
		},
		Links: []record.TopologyLink{
			{ID: "lhr.edge-transit.lhr", A: "lhr.edge", B: "transit.lhr", Class: "edge"},
			{ID: "transit.lhr-web", A: "web", B: "transit.lhr", Class: "internet"},
			{ID: "db", A: "db", B: "lhr.edge", Class: "tunnel", Kind: "connector", Text: "preserves sources"},
			{ID: "laptop.1", A: "laptop.1", B: "lhr.edge", Class: "tunnel", Kind: "device"},
			{ID: "laptop.2", A: "laptop.2", B: "lhr.edge", Class: "tunnel", Kind: "device"},
			{ID: "plant.1.fibre", A: "plant.1.router", B: "lhr.edge", Class: "interconnect", Kind: "interconnect", ARR: true, Text: "VLAN 7"},
		},
	}
	for i := 1; i <= 2; i++ {
		t.Nodes = append(t.Nodes, record.TopologyNode{ID: fmt.Sprintf("lhr.%d", i), Kind: "server", Datacenter: "lhr", Addresses: []string{fmt.Sprintf("198.51.100.0–1 ports %d–%d", i*2048, i*2048+2047)}})
	}
	for _, site := range []string{"shop.1", "shop.2", "plant.1"} {
		account := map[bool]string{true: "north", false: "south"}[site != "plant.1"]
		t.Nodes = append(t.Nodes,
			record.TopologyNode{ID: site + ".router", Kind: "branch", Site: site, Datacenter: "lhr", Account: account, Prefix: "10.0.1.0/24"},
			record.TopologyNode{ID: site + ".till", Kind: "host", Site: site, Datacenter: "lhr", Account: account, Prefix: "10.0.1.0/24", Addresses: []string{"10.0.1.5"}})
		if site != "plant.1" {
			t.Links = append(t.Links, record.TopologyLink{ID: site + ".wan", A: site + ".router", B: "lhr.edge", Class: "tunnel", Kind: "gre", ARR: site == "shop.1"})
		}
	}
	return t
}

// many is n equal sites of one datacenter, and one that differs.
func many(n int) record.Topology {
	t := record.Topology{Nodes: []record.TopologyNode{{ID: "lhr.edge", Kind: "edge", Datacenter: "lhr"}}}
	for i := 1; i <= n; i++ {
		site := fmt.Sprintf("shop.%d", i)
		t.Nodes = append(t.Nodes, record.TopologyNode{ID: site + ".router", Kind: "branch", Site: site, Datacenter: "lhr", Prefix: "10.0.1.0/24"})
		t.Links = append(t.Links, record.TopologyLink{ID: site + ".wan", A: site + ".router", B: "lhr.edge", Class: "tunnel", Kind: "gre", ARR: i > 1})
	}
	return t
}

func cards(d Drawing) []string {
	var all []string
	for _, b := range d.Cards {
		all = append(all, strings.TrimSpace(fmt.Sprintf("%s: %s; %s; %s; %s", b.Kind, b.Text, b.Tag, b.By, b.Prefix)))
	}
	return all
}

func TestCards(t *testing.T) {
	for name, tt := range map[string]struct {
		drawing  Drawing
		want     []string
		accounts int
	}{
		"one of everything": {Plain(mixed()), []string{
			"site: shop.1; gre; ARR; 10.0.1.0/24 ×4", "site: shop.2; gre; routes; 10.0.1.0/24 ×4", "site: plant.1; interconnect; ARR; 10.0.1.0/24 ×4",
			"device: laptop.1; red; ;", "device: laptop.2; default; ;", "origin: web; ; ;", "connector: db; red; ; 10.0.1.0/24 ×4",
		}, 2},
		"a hundred":              {Plain(many(100)), []string{"site: shop.1; gre; routes; 10.0.1.0/24 ×100", "site: shop ×99; gre; ARR; 10.0.1.0/24 ×100"}, 0},
		"few enough to be shown": {Draw(&record.Records{Run: record.Run{Topology: many(3)}}, nil), []string{"site: shop.1; gre; routes; 10.0.1.0/24 ×3", "site: shop.2; gre; ARR; 10.0.1.0/24 ×3", "site: shop.3; gre; ARR; 10.0.1.0/24 ×3"}, 0},
	} {
		if diff := cmp.Diff(tt.want, cards(tt.drawing)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if len(tt.drawing.Accounts) != tt.accounts {
			t.Errorf("%s: %d accounts are framed, want %d", name, len(tt.drawing.Accounts), tt.accounts)
		}
	}
}

// In a plain drawing the colour is that of the account, or of the virtual network.
func TestColours(t *testing.T) {
	top := mixed()
	hues := func() map[string]int {
		got := map[string]int{}
		for _, b := range Plain(top).Cards {
			if b.Kind != "origin" {
				got[b.ID] = b.Hue
			}
		}
		return got
	}
	if diff := cmp.Diff(map[string]int{"shop.1": 0, "shop.2": 0, "plant.1": 1, "laptop.1": 1, "laptop.2": 1, "db": 1}, hues()); diff != "" {
		t.Errorf("by account (-want +got):\n%s", diff)
	}
	for i := range top.Nodes {
		if top.Nodes[i].Account != "" {
			top.Nodes[i].Account = "one"
		}
	}
	if diff := cmp.Diff(map[string]int{"shop.1": 0, "shop.2": 0, "plant.1": 0, "laptop.1": 1, "laptop.2": 0, "db": 1}, hues()); diff != "" {
		t.Errorf("by virtual network (-want +got):\n%s", diff)
	}
}

// A site with several ways out says so.
func TestSeveralOnRamps(t *testing.T) {
	for want, kinds := range map[string][]string{"gre": {"gre"}, "gre ×2": {"gre", "gre"}, "2 on-ramps": {"gre", "interconnect"}, "": nil} {
		u := unit{kind: "site", members: []string{"shop.1"}}
		for _, k := range kinds {
			u.onramps = append(u.onramps, record.TopologyLink{Class: "tunnel", Kind: k})
		}
		if got := u.kinds(); got != want {
			t.Errorf("%v: got %q, want %q", kinds, got, want)
		}
	}
}

// The virtual network that every account has is not worth telling where it is alone.
func TestDefaultAlone(t *testing.T) {
	top := mixed()
	for i := range top.Nodes {
		if top.Nodes[i].VNet != "" {
			top.Nodes[i].VNet = "default"
		}
	}
	for _, b := range Plain(top).Cards {
		if b.Tag == "default" {
			t.Errorf("%s is said to be in the default virtual network", b.Text)
		}
	}
}

// Every on-ramp is in the drawing, by its kind.
func TestOnRampsAreDrawn(t *testing.T) {
	d := Plain(mixed())
	got := map[string]int{}
	for _, l := range d.Links {
		if strings.HasPrefix(l.Class, "ramp ") {
			got[l.Class]++
		}
	}
	if diff := cmp.Diff(map[string]int{"ramp gre": 2, "ramp device": 2, "ramp connector": 1, "ramp interconnect": 1}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, e := range d.Legend {
		delete(got, e.Class)
	}
	if len(got) > 0 {
		t.Errorf("the legend lacks %v", got)
	}
}

// Boxes stay inside and do not cover each other.
func TestBoxesAreApart(t *testing.T) {
	for name, d := range map[string]Drawing{
		"mixed": Plain(mixed()), "a hundred": Plain(many(100)), "flows": Draw(fixture.Run("routes_only"), []string{"same"}), "nothing": Plain(record.Topology{}),
	} {
		boxes := slices.Concat(d.Cards, d.Servers, d.Transits)
		for i, a := range boxes {
			if a.X < 0 || a.Y < 0 || a.X+a.W > d.Width || a.Y+a.H > d.Height {
				t.Errorf("%s: %s is outside the drawing", name, a.ID)
			}
			for _, b := range boxes[:i] {
				if a.X < b.X+b.W && b.X < a.X+a.W && a.Y < b.Y+b.H && b.Y < a.Y+a.H {
					t.Errorf("%s: %s covers %s", name, a.ID, b.ID)
				}
			}
		}
		for _, a := range d.Accounts {
			for _, b := range d.Accounts {
				if a.ID != b.ID && a.Y < b.Y+b.H && b.Y < a.Y+a.H {
					t.Errorf("%s: %s covers %s", name, a.ID, b.ID)
				}
			}
		}
	}
}

func TestFitting(t *testing.T) {
	for _, tt := range []struct {
		texts []string
		chars int
		want  string
	}{
		{[]string{"198.51.100.0/31", "2001:db8::/64"}, 40, "egress 198.51.100.0/31, 2001:db8::/64"},
		{[]string{"198.51.100.0/31", "2001:db8::/64"}, 30, "egress 198.51.100.0/31 +1"},
		{[]string{"198.51.100.0/31"}, 15, "egress 198.51.…"},
		{nil, 9, "egress "},
	} {
		if got := fitting("egress ", tt.texts, float64(tt.chars)*monoW); got != tt.want {
			t.Errorf("%d characters: got %q, want %q", tt.chars, got, tt.want)
		}
	}
}

func TestLongNamesAreCut(t *testing.T) {
	b := Box{Text: "headquarters_of_the_whole_company.12", Small: strings.Repeat("x", 80), Tag: "interconnect", W: siteW}
	text, small := b.clip()
	if want := "headquar…"; text != want || len([]rune(small)) != 27 {
		t.Errorf("got %q and %d characters, want %q and 27", text, len([]rune(small)), want)
	}
	if text, _ := (Box{Text: "shop.1", Tag: "gre", W: siteW}).clip(); text != "shop.1" {
		t.Errorf("a short name was cut to %q", text)
	}
}

// What cannot even be shown gathered is said to be left out.
func TestLeftOut(t *testing.T) {
	var top record.Topology
	for i := range 30 {
		name := fmt.Sprintf("s%d", i)
		top.Nodes = append(top.Nodes, record.TopologyNode{ID: name + ".h", Kind: "host", Site: name})
	}
	rec := &record.Records{Run: record.Run{Topology: top}, Flows: []record.Flow{{Client: "s29.h", Traffic: "t"}}}
	d := Draw(rec, nil)
	if len(d.Cards) != MostSites || d.More != 30-MostSites {
		t.Errorf("got %d cards and %d more, want %d and %d", len(d.Cards), d.More, MostSites, 30-MostSites)
	}
	if text := svg(t, top, "many"); !strings.Contains(text, "18 more are not drawn") {
		t.Error("the picture does not say that sites are missing from it")
	}
	if d := Plain(record.Topology{Nodes: top.Nodes[:fewPlain+3]}); len(d.Cards) != fewPlain+3 || d.More != 0 {
		t.Errorf("got %d cards and %d more of a few that differ, want all of them", len(d.Cards), d.More)
	}
	if !slices.ContainsFunc(d.Cards, func(b Box) bool { return b.ID == "s29" }) {
		t.Error("the only site that asks is not drawn")
	}
}

// A reply at another site of the same card is wrong all the same.
func TestWrongInsideOneCard(t *testing.T) {
	rec := &record.Records{Run: record.Run{Topology: many(40)}}
	for i := 2; i <= 40; i++ {
		f := record.Flow{Traffic: "t", N: i, Client: fmt.Sprintf("shop.%d.router", i), Server: "web", IngressDC: "lhr", EgressServer: "lhr.1", Result: record.OK, DeliveredTo: fmt.Sprintf("shop.%d.router", i)}
		if i == 7 {
			f.Result, f.DeliveredTo = record.Misdelivered, "shop.8.router"
		}
		rec.Flows = append(rec.Flows, f)
	}
	want := []string{"shop ×39 → web and lhr.1: reply seen at another of them (1 flow)", "shop ×39 → web and lhr.1: reply came home (38 flows)"}
	if diff := cmp.Diff(want, Draw(rec, nil).Layers[0].Story); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Every flow is in exactly one way of a drawing.
func TestLayersSumUp(t *testing.T) {
	for _, rec := range fixture.Results().Runs {
		sum := 0
		for _, b := range bundleUp(rec.Flows, newGeometry(rec, true)) {
			sum += b.n
		}
		if sum != len(rec.Flows) {
			t.Errorf("%s: the ways hold %d flows, want %d", rec.Run.Variant, sum, len(rec.Flows))
		}
	}
}

// A flow that leaves from another server than its home goes there beside the column of
// servers, and crosses none of their texts.
func TestWaysBetweenServers(t *testing.T) {
	g := &geometry{boxes: map[string]Box{
		"shop": {X: 0, W: 10, H: 40}, "kix.1": {X: 100, W: 50, H: 40}, "nrt.1": {X: 100, Y: 100, W: 50, H: 40}, "web": {X: 300, W: 10, H: 40},
	}}
	b := &bundle{from: "shop", home: "kix.1", exit: "nrt.1", to: "web", landed: "shop", class: "back", n: 1}
	between := 0
	for _, s := range b.stretches(g) {
		if g.boxes[s.from.box].X != g.boxes[s.to.box].X {
			continue
		}
		if between++; !s.from.right || !s.to.right {
			t.Errorf("from %s to %s: the way leaves or arrives on the left, and crosses the column", s.from.box, s.to.box)
		}
	}
	if between != 2 {
		t.Errorf("%d ways between servers, want there and back", between)
	}
}

// Ways lead to private networks and devices as they do to the Internet, and
// come back from the side that they left by.
func TestPrivateWays(t *testing.T) {
	way := func(traffic, client, server string) record.Flow {
		return record.Flow{Traffic: traffic, Client: client, Server: server, HomeServer: "lhr.1", EgressServer: "lhr.1", Result: record.OK, DeliveredTo: client}
	}
	rec := &record.Records{Run: record.Run{Topology: mixed()}, Flows: []record.Flow{way("in", "shop.1.till", "db.pg"), way("in", "laptop.1", "db.pg"), way("out", "db.pg", "laptop.2"), way("web", "plant.1.till", "web")}}
	d := Draw(rec, []string{"in", "out", "web"})
	want := [][]string{
		{"shop.1 → db by lhr.1: reply came home (1 flow)", "laptop.1 → db by lhr.1: reply came home (1 flow)"},
		{"db → laptop.2 by lhr.1: reply came home (1 flow)"},
		{"plant.1 → web by lhr.1: reply came home (1 flow)"},
	}
	boxes := map[string]Box{}
	for _, b := range d.Cards {
		boxes[b.ID] = b
	}
	for i, l := range d.Layers[1:] {
		slices.Sort(l.Story)
		slices.Sort(want[i])
		if diff := cmp.Diff(want[i], l.Story); diff != "" {
			t.Errorf("%s (-want +got):\n%s", l.Traffic, diff)
		}
		if n := len(l.Story) * 4; len(l.Paths) != n && l.Traffic != "in" || l.Traffic == "in" && len(l.Paths) < 6 {
			t.Errorf("%s: %d stretches are drawn, want %d: out and back on both sides of the server", l.Traffic, len(l.Paths), n)
		}
	}
	var left float64
	if _, err := fmt.Sscanf(d.Layers[2].Paths[0].D, "M%f", &left); err != nil || left != boxes["db"].X {
		t.Errorf("what the private network asks begins at %v (%v), want %v, the left side of its card", left, err, boxes["db"].X)
	}
	if *keepFlows != "" {
		svg, err := d.Inline("p")
		if err != nil {
			t.Fatal(err)
		}
		page := "<meta charset=utf-8><style>" + string(Style()) + "[data-layer]:not([data-layer=all]) { display: none; } body { background: var(--panel); }</style>" + string(svg)
		if err := os.WriteFile(*keepFlows, []byte(page), 0o666); err != nil {
			t.Fatal(err)
		}
	}
}

func TestWrongDeliveryIsDrawn(t *testing.T) {
	d := Draw(fixture.Run("routes_only"), []string{"same"})
	if !slices.ContainsFunc(d.Layers[1].Paths, func(p Path) bool { return p.Class == "wrong" }) {
		t.Error("no wrong delivery is drawn")
	}
}

// A curve is where it begins, ends and turns.
func TestMarksOnCurves(t *testing.T) {
	for _, on := range [][4]float64{{100, 10, 300, 50}, {300, 50, 100, 10}} {
		for x, want := range map[float64]float64{100: 10, 200: 30, 300: 50} {
			if got := height(on, x); got < want-0.01 || got > want+0.01 {
				t.Errorf("%v at %v: got %v, want %v", on, x, got, want)
			}
		}
	}
}

func svg(t *testing.T, top record.Topology, title string) string {
	t.Helper()
	var b bytes.Buffer
	if err := Plain(top).Write(&b, title, "mixed/base"); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// The file is XML, fetches nothing, is the same every time, and what records
// hold stays text.
func TestFile(t *testing.T) {
	top := mixed()
	text := svg(t, top, "One of everything")
	if *keep != "" {
		if err := os.WriteFile(*keep, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	if again := svg(t, mixed(), "One of everything"); again != text {
		t.Error("the same network gave another picture")
	}
	for i := range top.Nodes {
		if u := &top.Nodes[i].User; *u != "" {
			*u = `</text><script>alert(1)</script>&`
		}
	}
	evil := svg(t, top, `"><script>`)
	for _, text := range []string{text, evil} {
		for _, bad := range []string{`<script`, `<image`, `<foreignObject`, `href`, `@import`, `url\([^#]`, `ZgotmplZ`, `&nbsp;`} {
			if found := regexp.MustCompile(bad).FindString(text); found != "" {
				t.Errorf("the picture holds %q", found)
			}
		}
		for d := xml.NewDecoder(strings.NewReader(text)); ; {
			if _, err := d.Token(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("not XML: %v", err)
			}
		}
	}
	if !strings.Contains(text, "prefers-color-scheme: dark") || !strings.Contains(text, "One of everything") {
		t.Error("the picture has no dark colours or no title")
	}
}
