package pump_test

import (
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A pump that stands still while a packet is due says so, of the link that the packet
// crossed and of no other: by how much, and when.
func TestLateIsTold(t *testing.T) {
	l := up(t, twoHosts(fixed(5*ms)))
	var heard, said *net.UDPConn
	for _, end := range []struct {
		node string
		open func() error
	}{
		{"right", func() (err error) {
			heard, err = net.ListenUDP("udp4", &net.UDPAddr{IP: net.ParseIP(right), Port: 7})
			return err
		}},
		{"left", func() (err error) {
			said, err = net.DialUDP("udp4", nil, &net.UDPAddr{IP: net.ParseIP(right), Port: 7})
			return err
		}},
	} {
		if err := l.NS(end.node).Do(end.open); err != nil {
			t.Fatal(err)
		}
	}
	defer heard.Close()
	defer said.Close()
	if err := unix.Kill(l.pump.Pid(), unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if _, err := said.Write([]byte("late")); err != nil {
		t.Fatal(err)
	}
	const still = 40 * time.Millisecond
	time.Sleep(still)
	if err := unix.Kill(l.pump.Pid(), unix.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if err := heard.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if _, err := heard.Read(make([]byte, 16)); err != nil {
		t.Fatal(err)
	}
	counts, err := l.pump.Counts()
	if err != nil {
		t.Fatal(err)
	}
	there, back := counts[0].Moments, counts[1].Moments
	if there.Least == 0 || len(there.Moments) != 1 || time.Duration(there.Moments[0].For) < still/2 || there.Moments[0].At <= 0 {
		t.Errorf("there: %+v, want one moment of %v or more", there, still/2)
	}
	if back.Least == 0 || len(back.Moments) != 0 {
		t.Errorf("back: %+v, want none of what nothing crossed", back)
	}
}
