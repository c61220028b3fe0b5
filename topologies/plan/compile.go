package plan

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/topologies/spec"
)

// Compile makes the plan of a resolved scenario: one with its variant applied,
// sites and Internet hosts written out and defaults filled. s is only read.
// The error joins every mistake found, each an *Error (see Errors).
//
// A resolved scenario does not say which variant it is: CompileVariant does.
func Compile(s *spec.Scenario) (*Plan, error) { return CompileVariant(s, spec.Base) }

// CompileVariant is Compile for a scenario to which the named variant was
// applied: the plan has its name, its title if it has one, and the checks that
// it expects to fail.
func CompileVariant(s *spec.Scenario, variant string) (*Plan, error) {
	b := &builder{
		s:        s,
		p:        header(s),
		told:     map[Error]bool{},
		used:     map[Error]bool{},
		accounts: accountsOf(s),
		nodes:    map[string]*node{},
		byNode:   map[string]*branch{},
		ifaces:   map[string]map[string]bool{},
		hops:     map[[2]string]Hop{},
		infra:    newPool(infraRange),
		outer:    newPool(siteRange),
		inner:    newPool(innerRange),
	}
	b.six = sixOf(s)
	b.variant(variant)
	b.features()
	if s.Population != nil {
		// Users by the million are for the flow level alone, which makes no plan: nothing
		// of this one exists, and Features says why no engine plays it.
		return b.p, nil
	}
	b.places()
	b.sites()
	b.devices()
	b.connectors()
	b.origins()
	if len(b.errs) > 0 {
		return nil, b.err()
	}
	b.impair()
	b.kernelRoutes()
	b.kernelRoutes6()
	b.customers()
	b.sortRoutes()
	b.servers()
	b.traffic()
	b.services()
	b.uplinks()
	if len(b.errs) > 0 {
		return nil, b.err()
	}
	b.landings()
	b.finish()
	b.faults()
	if len(b.errs) > 0 {
		return nil, b.err()
	}
	return b.p, nil
}

// builder holds what planning knows so far. Steps run in Compile's order; each
// walks the scenario in file order, so that ids and addresses are stable.
type builder struct {
	s    *spec.Scenario
	p    *Plan
	errs []error
	told map[Error]bool // mistakes, and below features, by generic path
	used map[Error]bool

	nodes  map[string]*node
	order  []*node
	links  []*Link
	ifaces map[string]map[string]bool // node → interface names in use
	hops   map[[2]string]Hop          // from node, to node

	accounts []account
	towns    []*town
	dcs      []*dc
	byNode   map[string]*branch
	branch   []*branch
	hosts    []*machine
	origin   []*machine
	ramps    []ramp
	groups   []hub.Group
	infra    *pool   // between routers
	outer    *pool   // branches' outer addresses
	inner    *pool   // tunnel interfaces
	six      *six    // nil without IPv6
	plain    []*Link // of the plan's interconnects, in their order
	// devicePeer is the servers' address inside every device's tunnel.
	devicePeer netip.Addr
	serverIDs  ident.Server
}

// node is a Node while it grows.
type node struct {
	Node
	path string // where in the file it comes from
}

// header is what the plan says of the scenario itself.
func header(s *spec.Scenario) *Plan {
	return &Plan{
		Scenario: s.Name,
		Title:    s.Title,
		Seed:     cmp.Or(s.Seed, 1),
		Checks:   slices.Clone(s.Checks),
		Needs:    slices.Clone(s.Needs),

		Dataplane: s.Dataplane,
		Detection: scaled(s.Timers, 0, serverDetection),
	}
}

// variant looks up what the file says of a variant besides its settings.
func (b *builder) variant(name string) {
	b.p.Variant = name
	i := slices.IndexFunc(b.s.Variants, func(v spec.Variant) bool { return v.Name == name })
	switch {
	case i >= 0:
		b.p.Title = cmp.Or(b.s.Variants[i].Title, b.p.Title)
		b.p.ExpectFail = slices.Clone(b.s.Variants[i].ExpectFail)
	case name != spec.Base:
		b.fail("variants", "no variant is called %q", name)
	}
}

// add makes a node. Ids of the file and ids of the lab can clash, such as a
// host that is called router.
func (b *builder) add(path string, n Node) *node {
	if old := b.nodes[n.ID]; old != nil {
		b.fail(path, "the id %s is taken by the %s that %s makes", n.ID, old.Kind, old.path)
	}
	if n.ends() && b.s.TCPECN != spec.ECNAccept {
		n.TCPECN = b.s.TCPECN
	}
	made := &node{Node: n, path: path}
	b.nodes[n.ID] = made
	b.order = append(b.order, made)
	return made
}

// finish sorts and numbers what the steps made.
func (b *builder) finish() {
	b.p.Objects = b.objects()
	slices.SortFunc(b.links, func(x, y *Link) int { return cmp.Compare(x.ID, y.ID) })
	for i, l := range b.links {
		l.A.MAC, l.B.MAC = mac(macLink, i, 1), mac(macLink, i, 2)
		b.p.Links = append(b.p.Links, *l)
	}
	for i, l := range b.plain {
		b.p.Interconnects[i].SiteMAC = l.A.MAC
	}
	slices.SortFunc(b.order, func(x, y *node) int { return cmp.Compare(x.ID, y.ID) })
	for _, n := range b.order {
		b.p.Nodes = append(b.p.Nodes, n.Node)
	}
}

// at is the path of item i of a list.
func at(list string, i int) string { return fmt.Sprintf("%s[%d]", list, i) }
