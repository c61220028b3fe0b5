package bpf

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"

	"github.com/homeward-lab/homeward/dataplane/tunnel"
)

// MaxMark is the largest mark that can name an outer header.
const MaxMark = 1<<16 - 1

// ErrFamily is returned for an outer header the programs cannot push.
var ErrFamily = errors.New("outer header is not IPv4")

// ServerOptions say where AttachServer attaches. Only Interface is required.
type ServerOptions struct {
	// Interface is the uplink's index in the calling thread's namespace.
	Interface int
	// Own are addresses whose packets stay the kernel's; other IP packets that
	// arrive are dropped after the packet sockets saw them, but for IPv6 to a
	// group. At most 64 of each family.
	Own []netip.Addr
	// Encaps is how many marks can stand for an outer header, 1 and on; 0 means
	// MaxMark. The programs' table is as large.
	Encaps uint32
	// Fast stands at ingress instead, if it is set; it has addresses of its own.
	// It remains the caller's to close.
	Fast *Dataplane
}

// Server is the pair of programs on an edge server's uplink. It is safe for
// use by one goroutine at a time.
type Server struct {
	objects serverObjects
	marks   uint32
	links   []link.Link
	// held says that Hold took the program at ingress away, ingress how to put it back.
	held    bool
	ingress link.TCXOptions
}

// encapEntry has the layout of the C struct encap.
type encapEntry struct {
	Src, Dst [4]byte
	Key      [4]byte // big endian
	HasKey   uint8
	TTL      uint8
	_        [2]byte
}

// AttachServer loads the server's programs and attaches them, in the calling
// thread's network namespace, to the uplink: at egress the one that pushes
// outer headers by mark, at ingress the one that keeps from the kernel what the
// hub handles. Close, or the process's death, detaches them.
func AttachServer(o ServerOptions) (*Server, error) {
	s := new(Server)
	if err := s.load(&o); err != nil {
		return nil, fmt.Errorf("load server programs: %w", errors.Join(err, s.Close()))
	}
	if err := s.attach(o); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// load loads what has something to do: nothing at ingress beside Fast.
func (s *Server) load(o *ServerOptions) error {
	spec, err := loadServer()
	if err != nil {
		return err
	}
	if s.marks = o.Encaps; s.marks == 0 || s.marks > MaxMark {
		s.marks = MaxMark
	}
	spec.Maps[serverMapEncaps].MaxEntries = s.marks + 1 // mark 0 is none
	if o.Fast == nil {
		return spec.LoadAndAssign(&s.objects, nil)
	}
	var egress struct {
		PushByMark *ebpf.Program `ebpf:"push_by_mark"`
		Counters   *ebpf.Map     `ebpf:"counters"`
		Encaps     *ebpf.Map     `ebpf:"encaps"`
	}
	err = spec.LoadAndAssign(&egress, nil)
	s.objects.PushByMark, s.objects.Counters, s.objects.Encaps = egress.PushByMark, egress.Counters, egress.Encaps
	return err
}

func (s *Server) attach(o ServerOptions) error {
	ingress := s.objects.Consume
	if o.Fast != nil {
		ingress, o.Own = o.Fast.objects.FastPath, nil
	}
	for _, a := range o.Own {
		if err := putOwn(s.objects.Own, s.objects.Own6, a); err != nil {
			return err
		}
	}
	s.ingress = link.TCXOptions{Program: ingress, Interface: o.Interface, Attach: ebpf.AttachTCXIngress}
	for _, p := range []link.TCXOptions{
		{Program: s.objects.PushByMark, Interface: o.Interface, Attach: ebpf.AttachTCXEgress},
		s.ingress,
	} {
		if err := s.attachAt(p); err != nil {
			return err
		}
	}
	return nil
}

func (s *Server) attachAt(o link.TCXOptions) error {
	l, err := link.AttachTCX(o)
	if err != nil {
		return fmt.Errorf("attach %v to interface %d: %w", o.Attach, o.Interface, err)
	}
	s.links = append(s.links, l)
	return nil
}

// Hold takes the program at ingress away, or puts it back: what arrives meanwhile
// waits for the hub, which is about to stop. It must be called in the namespace
// of the interface.
func (s *Server) Hold(on bool) error {
	if on == s.held {
		return nil
	}
	s.held = on
	if !on {
		return s.attachAt(s.ingress)
	}
	last := len(s.links) - 1 // ingress is attached last
	l := s.links[last]
	s.links = s.links[:last]
	return l.Close()
}

// putOwn leaves packets to an address to the kernel.
func putOwn(own, own6 *ebpf.Map, a netip.Addr) error {
	var err error
	if a.Is4() {
		err = own.Put(a.As4(), uint8(1))
	} else {
		err = own6.Put(a.As16(), uint8(1))
	}
	if err != nil {
		return fmt.Errorf("own address %v: %w", a, err)
	}
	return nil
}

// Marks is the largest that can stand for an outer header.
func (s *Server) Marks() uint32 { return s.marks }

// SetEncap makes mark, 1 to Marks, stand for the outer header e: a packet
// sent with it gets e pushed in front. A TTL of 0 means tunnel.DefaultTTL. An
// outer header that is not IPv4 is refused with ErrFamily.
func (s *Server) SetEncap(mark uint32, e tunnel.Encap) error {
	if mark == 0 || mark > s.marks {
		return fmt.Errorf("mark is %d, want 1 to %d", mark, s.marks)
	}
	if !e.Src.Is4() || !e.Dst.Is4() {
		return fmt.Errorf("%w: %v > %v", ErrFamily, e.Src, e.Dst)
	}
	entry := encapEntry{Src: e.Src.As4(), Dst: e.Dst.As4(), TTL: e.TTL}
	if entry.TTL == 0 {
		entry.TTL = tunnel.DefaultTTL
	}
	if e.HasKey {
		entry.HasKey = 1
		binary.BigEndian.PutUint32(entry.Key[:], e.Key)
	}
	if err := s.objects.Encaps.Put(mark, &entry); err != nil {
		return fmt.Errorf("encap of mark %d: %w", mark, err)
	}
	return nil
}

// Counters reads what the programs counted.
func (s *Server) Counters() (Counters, error) { return readCounters(s.objects.Counters, 0) }

// Close detaches and unloads the programs. It is idempotent.
func (s *Server) Close() error {
	var errs []error
	for _, l := range s.links {
		errs = append(errs, l.Close())
	}
	s.links = nil
	return errors.Join(append(errs, s.objects.Close())...)
}
