package host

import (
	"net"
	"testing"

	"golang.org/x/sys/unix"
)

// A connection that the origin has closed is bounded by the kernel's patience
// with orphans, which the keeper of a lab shortens: with a user timeout of its
// own, an unanswered goodbye would keep the namespace for a minute.
func TestClosedConnectionIsTheKernels(t *testing.T) {
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	client, err := net.Dial("tcp", plain.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	c, err := (listener{plain, &origin{}}).Accept()
	if err != nil {
		t.Fatal(err)
	}
	same, err := c.(accepted).File() // the socket, beyond Close
	if err != nil {
		t.Fatal(err)
	}
	defer same.Close()
	if err := unix.SetsockoptInt(int(same.Fd()), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, 60_000); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	got, err := unix.GetsockoptInt(int(same.Fd()), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT)
	if err != nil || got != 0 {
		t.Errorf("user timeout %d ms after Close (%v), want 0", got, err)
	}
}
