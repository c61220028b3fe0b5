package bpf

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
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
	// Flows is the most that are installed at once; 0 means 65536.
	Flows int
	// PortSlots is how many places each egress address of this server has for its
	// ports, a power of two from 2048, which is 0, to 65536. More serve an address
	// of which the server owns several slices.
	PortSlots int
	// Peer hands packets to the uplink's other end at once. It is quicker, and
	// passes by queues: only where nothing shapes the uplink (veth alone has it).
	Peer bool
}

const (
	defaultFlows = 1 << 16
	maxPortSlots = 1 << 16
)

// Dataplane is the fast path: one program at a server's uplink and the flows that
// it carries. Whatever is not of such a flow is handed to its home, dropped and
// counted, or left to the hub: that goes on to packet sockets of ETH_P_IP and
// ETH_P_IPV6 as a packet for another host, so that the kernel itself never
// answers. It is safe for use by one goroutine at a time.
type Dataplane struct {
	objects dataplaneObjects
	links   []link.Link
	spec    Spec
	network network
	// memory is returns, the map, and flows the same by place.
	memory []byte
	flows  []dataplaneFlow
	serial uint32
	// asked are on-ramps whose replies are the hub's for now.
	asked map[ident.OnRamp]bool
}

// NewDataplane loads the fast path, without flows, for the network of s.Config.
// Nothing is pinned: it is gone with Close or the process.
func NewDataplane(s Spec) (*Dataplane, error) {
	if s.Flows == 0 {
		s.Flows = defaultFlows
	}
	if s.PortSlots == 0 {
		s.PortSlots = sliceSlots
	}
	if s.Flows < 0 || s.PortSlots < sliceSlots || s.PortSlots > maxPortSlots || s.PortSlots&(s.PortSlots-1) != 0 {
		return nil, fmt.Errorf("want a bound of flows above 0 and port slots a power of two from %d to %d, got %d and %d", sliceSlots, maxPortSlots, s.Flows, s.PortSlots)
	}
	d := &Dataplane{spec: s, asked: make(map[ident.OnRamp]bool)}
	if err := d.load(); err != nil {
		return nil, fmt.Errorf("load fast path: %w", errors.Join(err, d.Close()))
	}
	return d, nil
}

func (d *Dataplane) load() error {
	spec, err := loadDataplane()
	if err != nil {
		return err
	}
	if err := d.spec.setKnobs(spec); err != nil {
		return err
	}
	d.spec.size(spec)
	if err := spec.LoadAndAssign(&d.objects, nil); err != nil {
		return err
	}
	places := int(d.objects.Returns.MaxEntries())
	size := places * int(unsafe.Sizeof(dataplaneFlow{}))
	if d.memory, err = unix.Mmap(d.objects.Returns.FD(), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED); err != nil {
		return fmt.Errorf("map the flows: %w", err)
	}
	d.flows = unsafe.Slice((*dataplaneFlow)(unsafe.Pointer(&d.memory[0])), places)
	d.network = makeNetwork(&d.spec, places)
	return d.Configure(d.spec.Config)
}

// setKnobs fills the programs' constants before the verifier sees them.
func (s *Spec) setKnobs(spec *ebpf.CollectionSpec) error {
	if len(s.MAC) != 6 || len(s.Gateway) != 6 {
		return fmt.Errorf("MAC is %q and the gateway's %q, want 6 bytes each", s.MAC, s.Gateway)
	}
	for name, value := range map[string]any{
		dataplaneVarSeed:         s.Config.Seed,
		dataplaneVarSelf:         uint16(s.Config.Self),
		dataplaneVarTrace:        flag(s.Config.Trace),
		dataplaneVarPeerRedirect: flag(s.Peer),
		dataplaneVarUplinkMac:    [6]byte(s.MAC),
		dataplaneVarGatewayMac:   [6]byte(s.Gateway),
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

// size makes the maps as large as the plan needs.
func (s *Spec) size(spec *ebpf.CollectionSpec) {
	c := &s.Config
	ours, highest := 0, ident.OnRamp(0)
	for i := range c.Egress {
		if ownedBy(&c.Egress[i], c.Self) {
			ours++
		}
	}
	for i := range c.OnRamps {
		highest = max(highest, c.OnRamps[i].ID)
	}
	servers := ident.Server(0)
	for i := range c.Servers {
		servers = max(servers, c.Servers[i].ID)
	}
	more := func(n int) uint32 { return uint32(n + n/2 + 16) }
	for name, entries := range map[string]uint32{
		dataplaneMapForwards: uint32(s.Flows),
		dataplaneMapFurther:  uint32(s.Flows),
		dataplaneMapReturns:  uint32(max(ours, 1) * s.PortSlots),
		dataplaneMapPlaces:   more(len(c.Egress) + len(c.Servers) + len(c.Tunnels) + len(s.Own)),
		dataplaneMapTunnels:  more(len(c.OnRamps)),
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

// Close detaches and unloads the fast path. It is idempotent.
func (d *Dataplane) Close() error {
	var errs []error
	for _, l := range d.links {
		errs = append(errs, l.Close())
	}
	d.links = nil
	if d.memory != nil {
		errs = append(errs, unix.Munmap(d.memory))
		d.memory, d.flows = nil, nil
	}
	return errors.Join(append(errs, d.objects.Close())...)
}
