package agent

import (
	"errors"
	"fmt"
	"iter"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/homeward-lab/homeward/dataplane/drop"
	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/dataplane/pkt"
	"github.com/homeward-lab/homeward/dataplane/tunnel"
	"github.com/homeward-lab/homeward/dataplane/vt"
)

// childEnv makes the test binary an agent child with the named core.
const childEnv = "HOMEWARD_TEST_AGENT"

func TestMain(m *testing.M) {
	var err error
	switch os.Getenv(childEnv) {
	case "":
		os.Exit(m.Run())
	case "fake":
		err = serve(os.Stdin, os.Stdout, func(c hub.Config) (core, error) { return newFake(c) })
	case "hub":
		err = Main(os.Stdin, os.Stdout)
	case "hub without bpf":
		err = withoutBPF()
	case "parent":
		err = parent()
	case "silent":
		fmt.Fprintln(os.Stderr, "I shall say nothing")
		select {}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// withoutBPF runs the hub's child anew with no capability to load programs.
func withoutBPF() error {
	runtime.LockOSThread()
	for _, c := range []uintptr{unix.CAP_BPF, unix.CAP_SYS_ADMIN} {
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0); err != nil {
			return err
		}
	}
	if err := os.Setenv(childEnv, "hub"); err != nil {
		return err
	}
	return syscall.Exec("/proc/self/exe", os.Args, os.Environ())
}

// fake is a core that unwraps what comes from the one tunnel, and wraps what
// goes to the branch's prefix: a tunnel end without flows or translation.
type fake struct {
	config hub.Config
	encap  tunnel.Encap
	count  hub.Counters
	wake   vt.Instant
}

var errFake = errors.New("the fake wants one on-ramp")

func newFake(c hub.Config) (*fake, error) {
	if len(c.OnRamps) != 1 {
		return nil, fmt.Errorf("%w, got %d", errFake, len(c.OnRamps))
	}
	o := c.OnRamps[0]
	f := &fake{config: c, encap: tunnel.Encap{Src: o.Local, Dst: o.Remote}, wake: 1}
	if o.Key != nil {
		f.encap.Key, f.encap.HasKey = *o.Key, true
	}
	return f, nil
}

func (f *fake) HandleBatch(now vt.Instant, in []hub.Packet, out *hub.Out) {
	for _, p := range in {
		f.count.Packets++
		var m pkt.Meta
		m.Parse(p.Data)
		switch {
		case m.Proto == pkt.ProtoGRE && m.Dst == f.encap.Src && m.Src == f.encap.Dst:
			gre, reason := tunnel.ParseGRE(p.Data[m.L4:], false)
			if reason != drop.None || gre.HasKey != f.encap.HasKey || gre.Key != f.encap.Key {
				f.count.Drops[drop.UnknownTunnel]++
				continue
			}
			f.count.Forwarded++
			f.forward(now, p.Data[m.L4+gre.Len:], p.Offload, out)
		case netip.MustParsePrefix("10.0.1.0/24").Contains(m.Dst):
			f.count.Returned++
			out.Send = append(out.Send, hub.Send{Data: p.Data, Offload: p.Offload, Encap: f.encap})
		default:
			f.count.Drops[drop.NotForUs]++
		}
	}
}

// forward also tells of every SYN, so that events are seen to travel.
func (f *fake) forward(now vt.Instant, inner []byte, off pkt.Offload, out *hub.Out) {
	var m pkt.Meta
	m.Parse(inner)
	if m.Opens() && m.Kind == pkt.TCP {
		tuple := hub.Tuple{Proto: m.Proto, Src: netip.AddrPortFrom(m.Src, m.SrcPort), Dst: netip.AddrPortFrom(m.Dst, m.DstPort)}
		out.Events = append(out.Events, hub.Event{
			Kind: hub.FlowStart, At: now, Tuple: tuple, OnRamp: ident.OnRamp(f.config.Epoch + 1), Why: "fake",
			Session: &hub.Session{ID: [16]byte{1, 2}, Tuple: tuple, Start: now},
		})
	}
	out.Send = append(out.Send, hub.Send{Data: inner, Offload: off})
}

func (f *fake) HandleTimer(now vt.Instant, out *hub.Out) { f.wake = vt.Never }

func (f *fake) NextWake() vt.Instant { return f.wake }

func (f *fake) Reconfigure(_ vt.Instant, c hub.Config) error {
	if c.Epoch < f.config.Epoch {
		return fmt.Errorf("epoch is %d, want %d or later", c.Epoch, f.config.Epoch)
	}
	f.config = c
	return nil
}

func (f *fake) Counters() hub.Counters { return f.count }

func (f *fake) Sessions() iter.Seq[hub.Session] {
	return slices.Values([]hub.Session{{Tenant: 1}, {Tenant: 2}})
}

func (f *fake) Close(vt.Instant, *hub.Out) {}

func (f *fake) Learn(vt.Instant, []hub.Attachment, *hub.Out) {}

func (f *fake) Closed(vt.Instant, hub.Port, *hub.Out) {}

func (f *fake) SetFast(hub.Fast) {}
