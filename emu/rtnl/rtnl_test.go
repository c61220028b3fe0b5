package rtnl_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/homeward-lab/homeward/emu/netns"
	"github.com/homeward-lab/homeward/emu/rtnl"
	"github.com/homeward-lab/homeward/internal/need"
)

// dial opens a routing socket in a namespace that ends with the test.
func dial(t *testing.T) *rtnl.Conn {
	t.Helper()
	need.Root(t)
	ns, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close() })
	var c *rtnl.Conn
	if err := ns.Do(func() (err error) { c, err = rtnl.Dial(); return err }); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

const loopback = 1

// address is a message that gives lo the n-th address of 10.0.0.0/8.
func address(n int) rtnl.Message {
	a := []byte{10, byte(n >> 16), byte(n >> 8), byte(n)}
	h := nl.NewIfAddrmsg(unix.AF_INET)
	h.Prefixlen, h.Index = 32, loopback
	return rtnl.Message{
		Kind: unix.RTM_NEWADDR, Flags: unix.NLM_F_CREATE | unix.NLM_F_EXCL,
		Parts:   []nl.NetlinkRequestData{h, nl.NewRtAttr(unix.IFA_LOCAL, a), nl.NewRtAttr(unix.IFA_ADDRESS, a)},
		Explain: func(err error) error { return fmt.Errorf("address %d: %w", n, err) },
	}
}

func addresses(t *testing.T, c *rtnl.Conn) int {
	t.Helper()
	all, err := c.Ask(unix.RTM_GETADDR, unix.NLM_F_DUMP, nl.NewIfAddrmsg(unix.AF_INET))
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}

// More messages than one system call takes are all done, and a list that takes
// many answers is read to its end.
func TestSendDoesAll(t *testing.T) {
	c := dial(t)
	const n = 3000
	var ms []rtnl.Message
	for i := range n {
		ms = append(ms, address(i))
	}
	if err := c.Send(ms...); err != nil {
		t.Fatal(err)
	}
	if got := addresses(t, c); got != n {
		t.Errorf("%d addresses, want %d", got, n)
	}
	if err := c.Send(); err != nil {
		t.Errorf("nothing to send: %v", err)
	}
}

// What the kernel refuses is named, whichever of the messages it is, and what it
// says of it goes to no later question.
func TestSendNamesWhatIsRefused(t *testing.T) {
	c := dial(t)
	if err := c.Send(address(1)); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		ms   []rtnl.Message
		want string
	}{
		{"the only one", []rtnl.Message{address(1)}, "address 1: "},
		{"the first", []rtnl.Message{address(1), address(2)}, "address 1: "},
		{"one between", []rtnl.Message{address(3), address(1), address(4)}, "address 1: "},
		{"the last", []rtnl.Message{address(5), address(1)}, "address 1: "},
		{"two: the first of them", []rtnl.Message{address(6), address(2), address(1)}, "address 2: "},
	} {
		err := c.Send(tt.ms...)
		if !errors.Is(err, syscall.EEXIST) || !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %s and EEXIST", tt.name, err, tt.want)
		}
		if err := c.Send(address(100+len(tt.ms)), address(200+len(tt.want))); err != nil && !errors.Is(err, syscall.EEXIST) {
			t.Errorf("%s: afterwards: %v", tt.name, err)
		}
	}
}

// The kernel's own words are in the error.
func TestAskTellsTheKernelsWords(t *testing.T) {
	c := dial(t)
	m := nl.NewIfInfomsg(unix.AF_UNSPEC)
	m.Index = loopback
	_, err := c.Ask(unix.RTM_SETLINK, 0, m, nl.NewRtAttr(unix.IFLA_MTU, binary.NativeEndian.AppendUint32(nil, 1<<31)))
	if !errors.Is(err, syscall.EINVAL) || err.Error() == syscall.EINVAL.Error() {
		t.Errorf("an MTU beyond all bounds: %v, want EINVAL and what is wrong", err)
	}
	c.Close()
	if _, err := c.Ask(unix.RTM_GETLINK, 0, m); !errors.Is(err, syscall.EBADF) {
		t.Errorf("after Close: %v, want EBADF", err)
	}
}
