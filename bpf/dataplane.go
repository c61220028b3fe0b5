package bpf

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/dataplane/ident"
)

// Spec describes the fast path of one edge server.
type Spec struct {
	// Config is the server's. The fast path's maps are as large as it needs;
	// Configure can add half as many on-ramps and addresses again.
	Config hub.Config
	// MAC is the uplink's, Gateway that of the next hop; what leaves has both.
	MAC, Gateway net.HardwareAddr
	// Own are addresses whose packets stay the kernel's.
	Own []netip.Addr
	// Base is CLOCK_MONOTONIC, ns, at the hub's instant 0.
	Base int64
	// Flows is the most that are installed at once; 0 means DefaultFlows. Memory is taken
	// for so many beforehand: Install refuses more, and they stay with the hub. As
	// many connections are passed on at once (Pass), at most.
	Flows int
	// PortSlots is how many places each egress address of this server has for its
	// ports, a power of two from 2048, which is 0, to 65536. More serve an address
	// of which the server owns several slices.
	PortSlots int
	// Kernel is what somebody else has found out with RunningKernel on this machine;
	// nil means that nobody has.
	Kernel *Kernel
	// Peer hands packets to the uplink's other end at once. It is quicker, and
	// passes by queues: only where nothing shapes the uplink (veth alone has it).
	Peer bool
}

// fastObjects is what is loaded at once: the program for XDP is not.
type fastObjects struct {
	dataplaneMaps
	FastPath *ebpf.Program `ebpf:"fast_path"`
}

// DefaultFlows is Spec.Flows where that is 0.
const DefaultFlows = 1 << 16

const maxPortSlots = 1 << 16

// Dataplane is the fast path: one program at a server's uplink and the flows that
// it carries. Whatever is not of such a flow is handed to its home, dropped and
// counted, or left to the hub: that goes on to packet sockets of ETH_P_IP and
// ETH_P_IPV6 as a packet for another host, so that the kernel itself never
// answers. It is safe for use by one goroutine at a time.
type Dataplane struct {
	objects fastObjects
	xdp     *ebpf.Program // nil before AttachXDP
	links   []link.Link
	spec    Spec
	network network
	// places and tunnels are the programs' tables of these.
	places, tunnels table
	// memory is the maps returns and hashed; flows and index are the same by place.
	memory [][]byte
	flows  []dataplaneFlow
	index  index
	// installed is how many flows there are, serial the number of the last.
	installed int
	serial    uint32
	// passing says that there may be something in the map passed.
	passing bool
	// asked are on-ramps whose replies the hub has asked for (see Ask).
	asked map[ident.OnRamp]bool
	// askedServers are those to which the hub hands over itself (see AskServer).
	askedServers map[ident.Server]bool
}

// NewDataplane loads the fast path, without flows, for the network of s.Config.
// Nothing is pinned: it is gone with Close or the process.
func NewDataplane(s Spec) (*Dataplane, error) { return newDataplane(s, loadDataplane) }

func newDataplane(s Spec, object func() (*ebpf.CollectionSpec, error)) (*Dataplane, error) {
	if s.Flows == 0 {
		s.Flows = DefaultFlows
	}
	if s.PortSlots == 0 {
		s.PortSlots = sliceSlots
	}
	if s.Flows < 0 || s.PortSlots < sliceSlots || s.PortSlots > maxPortSlots || s.PortSlots&(s.PortSlots-1) != 0 {
		return nil, fmt.Errorf("want a bound of flows above 0 and port slots a power of two from %d to %d, got %d and %d", sliceSlots, maxPortSlots, s.Flows, s.PortSlots)
	}
	d := &Dataplane{spec: s, asked: make(map[ident.OnRamp]bool), askedServers: make(map[ident.Server]bool)}
	if err := d.load(object); err != nil {
		return nil, fmt.Errorf("load fast path: %w", errors.Join(err, d.Close()))
	}
	return d, nil
}

func (d *Dataplane) load(object func() (*ebpf.CollectionSpec, error)) error {
	spec, err := d.spec.prepare(object)
	if err != nil {
		return err
	}
	options, err := d.spec.options(spec)
	if err != nil {
		return err
	}
	if err := spec.LoadAndAssign(&d.objects, &options); err != nil {
		return err
	}
	if d.flows, err = mapped[dataplaneFlow](d, d.objects.Returns); err != nil {
		return err
	}
	if d.index, err = mapped[uint64](d, d.objects.Hashed); err != nil {
		return err
	}
	o := &d.objects
	d.places = table{entries: o.Places, halves: o.Halves, number: dataplaneTableTABLE_PLACES}
	d.tunnels = table{entries: o.Tunnels, halves: o.Halves, number: dataplaneTableTABLE_TUNNELS}
	d.network = makeNetwork(&d.spec, len(d.flows))
	return d.Configure(d.spec.Config)
}

// mapped is an array of the programs' as memory, until Close.
func mapped[T any](d *Dataplane, m *ebpf.Map) ([]T, error) {
	n := int(m.MaxEntries())
	memory, err := unix.Mmap(m.FD(), 0, n*int(m.ValueSize()), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map %v into memory: %w", m, err)
	}
	d.memory = append(d.memory, memory)
	return unsafe.Slice((*T)(unsafe.Pointer(&memory[0])), n), nil
}

// prepare makes an object ready to be loaded for s.
func (s *Spec) prepare(object func() (*ebpf.CollectionSpec, error)) (*ebpf.CollectionSpec, error) {
	spec, err := object()
	if err != nil {
		return nil, err
	}
	s.size(spec)
	return spec, s.setKnobs(spec)
}

// options say what there is to know of the kernel. If that cannot be told, loading
// finds out again, and says what is lacking.
func (s *Spec) options(spec *ebpf.CollectionSpec) (o ebpf.CollectionOptions, err error) {
	k := s.Kernel
	if k == nil {
		if k, err = RunningKernel(); err != nil {
			return o, nil
		}
	}
	o.Programs, err = k.options(spec)
	return o, err
}

// setKnobs fills the programs' constants before the verifier sees them.
func (s *Spec) setKnobs(spec *ebpf.CollectionSpec) error {
	if len(s.MAC) != 6 || len(s.Gateway) != 6 {
		return fmt.Errorf("MAC is %q and the gateway's %q, want 6 bytes each", s.MAC, s.Gateway)
	}
	for name, value := range map[string]any{
		dataplaneVarSeed:           s.Config.Seed,
		dataplaneVarIndexMask:      s.indexed() - 1,
		dataplaneVarPlaceMask:      tableSize(s.addresses()) - 1,
		dataplaneVarTunnelMask:     tableSize(s.onRamps()) - 1,
		dataplaneVarSelf:           uint16(s.Config.Self),
		dataplaneVarTrace:          flag(s.Config.Trace),
		dataplaneVarPeerRedirect:   flag(s.Peer),
		dataplaneVarFrameAddresses: [12]byte(append(slices.Clone(s.Gateway), s.MAC...)),
	} {
		if err := spec.Variables[name].Set(value); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

func flag(b bool) uint8 {
	if b {
		return 1
	}
	return 0
}

// slots is how many places there are in returns, indexed how many entries in hashed.
func (s *Spec) slots() int {
	ours := 0
	for i := range s.Config.Egress {
		if ownedBy(&s.Config.Egress[i], s.Config.Self) {
			ours++
		}
	}
	return max(ours, 1) * s.PortSlots
}

// addresses and onRamps are how many there can be.
func (s *Spec) addresses() uint32 {
	c := &s.Config
	return more(len(c.Egress) + len(c.Servers) + len(c.Tunnels) + len(s.Own))
}

func (s *Spec) onRamps() uint32 { return more(len(s.Config.OnRamps)) }

// more leaves room for what a configuration adds later.
func more(n int) uint32 { return uint32(n + n/2 + 16) }

func (s *Spec) indexed() uint32 { return indexSize(min(s.slots(), s.Flows)) }

// size makes the maps as large as the plan needs.
func (s *Spec) size(spec *ebpf.CollectionSpec) {
	c := &s.Config
	highest := ident.OnRamp(0)
	for i := range c.OnRamps {
		highest = max(highest, c.OnRamps[i].ID)
	}
	servers := ident.Server(0)
	for i := range c.Servers {
		servers = max(servers, c.Servers[i].ID)
	}
	for name, entries := range map[string]uint32{
		dataplaneMapForwards: uint32(s.Flows),
		dataplaneMapFurther:  uint32(s.Flows),
		dataplaneMapPassed:   uint32(s.Flows),
		dataplaneMapReturns:  uint32(s.slots()),
		dataplaneMapHashed:   s.indexed(),
		dataplaneMapEgresses: uint32(s.slots() / sliceSlots),
		dataplaneMapPlaces:   2 * tableSize(s.addresses()),
		dataplaneMapTunnels:  2 * tableSize(s.onRamps()),
		dataplaneMapOnramps:  more(int(highest) + 1),
		dataplaneMapServers:  more(int(servers) + 1),
	} {
		spec.Maps[name].MaxEntries = entries
	}
}

// Attach puts the program at the ingress of an interface of the calling thread's
// network namespace.
func (d *Dataplane) Attach(ifindex int) error {
	l, err := link.AttachTCX(link.TCXOptions{Program: d.objects.FastPath, Interface: ifindex, Attach: ebpf.AttachTCXIngress})
	if err != nil {
		return fmt.Errorf("attach fast path to interface %d: %w", ifindex, err)
	}
	d.links = append(d.links, l)
	return nil
}

// AttachXDP puts the program at an interface as native XDP, for benchmarks and
// where sources are XDP frames. What it leaves goes on to whatever else is there:
// to keep it from the kernel, Attach too.
func (d *Dataplane) AttachXDP(ifindex int) error {
	if err := d.loadXDP(loadDataplane); err != nil {
		return fmt.Errorf("load fast path for XDP: %w", err)
	}
	l, err := link.AttachXDP(link.XDPOptions{Program: d.xdp, Interface: ifindex, Flags: link.XDPDriverMode})
	if err != nil {
		return fmt.Errorf("attach fast path to XDP of interface %d: %w", ifindex, err)
	}
	d.links = append(d.links, l)
	return nil
}

// loadXDP loads the program for XDP around the same maps, once.
func (d *Dataplane) loadXDP(object func() (*ebpf.CollectionSpec, error)) error {
	if d.xdp != nil {
		return nil
	}
	spec, err := d.spec.prepare(object)
	if err != nil {
		return err
	}
	options, err := d.spec.options(spec)
	if err != nil {
		return err
	}
	options.MapReplacements = d.maps()
	var programs struct {
		XDP *ebpf.Program `ebpf:"fast_path_xdp"`
	}
	err = spec.LoadAndAssign(&programs, &options)
	d.xdp = programs.XDP
	return err
}

func (d *Dataplane) maps() map[string]*ebpf.Map {
	o := &d.objects
	return map[string]*ebpf.Map{
		dataplaneMapBuckets: o.Buckets, dataplaneMapCounters: o.Counters, dataplaneMapEgresses: o.Egresses, dataplaneMapHalves: o.Halves, dataplaneMapHashed: o.Hashed, dataplaneMapForwards: o.Forwards,
		dataplaneMapFurther: o.Further, dataplaneMapOnramps: o.Onramps, dataplaneMapOutcomes: o.Outcomes,
		dataplaneMapPassed: o.Passed, dataplaneMapPlaces: o.Places, dataplaneMapReturns: o.Returns, dataplaneMapServers: o.Servers, dataplaneMapTunnels: o.Tunnels,
	}
}

// Close detaches and unloads the fast path. It is idempotent.
func (d *Dataplane) Close() error {
	var errs []error
	for _, l := range d.links {
		errs = append(errs, l.Close())
	}
	d.links = nil
	for _, m := range d.memory {
		errs = append(errs, unix.Munmap(m))
	}
	d.memory, d.flows, d.index = nil, nil, nil
	if d.xdp != nil {
		errs = append(errs, d.xdp.Close())
	}
	return errors.Join(append(errs, d.objects.FastPath.Close(), d.objects.dataplaneMaps.Close())...)
}
