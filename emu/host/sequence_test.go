package host_test

import (
	"encoding/binary"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/homeward-lab/homeward/topologies/plan"
)

// A connection begins at its flow's own sequence number, not at the kernel's, of which
// all namespaces of a machine draw for the same addresses and ports.
func TestInitialSequence(t *testing.T) { eachFamily(t, beginsAtItsOwn) }

func beginsAtItsOwn(t *testing.T, a family) {
	w := a.world(t)
	w.serve(t, "http", 80, nil)
	var seen int
	inside(t, w.client.NS, func() (err error) {
		seen, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, int(binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, unix.ETH_P_ALL))))
		return err
	})
	t.Cleanup(func() { unix.Close(seen) })
	f := a.flow(plan.TCP, 1, 40000, 80)
	f.Nonce = 0x0123_89ab_cdef_4567 // beyond what fits in a signed number
	wantOK(t, f, run(t, map[string]world{"a": w}, f)[0])

	const flags, syn = 13, 0x02
	header := 20 // of IP
	if a.client.Is6() {
		header = 40
	}
	syns := 0
	for b := make([]byte, 2048); ; {
		n, _, err := unix.Recvfrom(seen, b, 0)
		if err != nil {
			break
		}
		if p := b[header:max(n, header)]; len(p) > flags && p[flags] == syn {
			syns++
			if got, want := binary.BigEndian.Uint32(p[4:]), uint32(0x89abcdef); got != want {
				t.Errorf("the connection begins at %#x, want %#x", got, want)
			}
		}
	}
	if syns == 0 {
		t.Error("no connection was seen to begin")
	}
}
