package run_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/homeward-lab/homeward/emu/run"
	"github.com/homeward-lab/homeward/internal/need"
	"github.com/homeward-lab/homeward/reports/record"
)

// Datagrams too big for one packet, from overlapping sites at the same moment:
// each is put together, translated, cut again on its way and answered in
// fragments, and nobody gets a byte of another's.
func TestLiveFragments(t *testing.T) { each(t, fragments) }

func fragments(t *testing.T, w world) {
	p := w.plan(t, justPing)
	r := live(t, p, run.Options{Keep: func(_ context.Context, doors []run.Door) {
		in := roomsOf(doors)
		t.Run("ping", func(t *testing.T) { bigPings(t, in, w) })
		t.Run("udp", func(t *testing.T) { bigEchoes(t, in, w) })
	}})
	wantAll(t, r, record.OK)
	held := int64(0)
	for _, m := range r.Run.Metrics.Servers {
		held += m["held"]
	}
	if held == 0 {
		t.Error("no server held a fragment")
	}
}

// bigPings asks with one id from all tills. In IPv6 routers do not cut: the first
// ping is the price of learning the tunnel's size.
func bigPings(t *testing.T, in rooms, w world) {
	ping := need.Tool(t, "ping")
	const count, size = 10, 2000
	answers := count
	if w.six() {
		answers--
	}
	for _, a := range in.atOnce(t, 10*time.Second, func(int) *exec.Cmd {
		return exec.Command(ping, "-n", "-e", "7", "-s", strconv.Itoa(size), "-c", strconv.Itoa(count), "-i", "0.05", "-W", "2", w.origin)
	}) {
		if !a.wantEnd(t) {
			continue
		}
		if refused := strings.Count(a.out, fmt.Sprintf("Packet too big: mtu=%d", tunnelMTU)); refused != count-answers {
			t.Errorf("site %d: %d pings refused, want %d:\n%s", a.site, refused, count-answers, a.out)
		}
		if got := strings.Count(a.out, fmt.Sprintf("%d bytes from", size+8)); got != answers || strings.Contains(a.out, "DUP!") || strings.Contains(a.out, "wrong data") {
			t.Errorf("site %d: %d answers to %d pings:\n%s", a.site, got, count, a.out)
		}
	}
}

// bigEchoes sends from one address and port of all tills, each its own bytes,
// which the origin sends back.
func bigEchoes(t *testing.T, in rooms, w world) {
	const port, rounds, size = 5999, 20, 3000
	var server *net.UDPConn
	in.do(t, "web", func() (err error) {
		server, err = net.ListenUDP("udp", &net.UDPAddr{IP: net.ParseIP(w.origin), Port: port})
		return err
	})
	defer server.Close()
	go func() {
		b := make([]byte, 1<<16)
		for {
			n, from, err := server.ReadFromUDP(b)
			if err != nil {
				return // closed
			}
			_, _ = server.WriteToUDP(b[:n], from) // a lost answer is the client's to notice
		}
	}()
	clients := make([]*net.UDPConn, tills)
	for i := range clients {
		in.do(t, tillNode(i+1), func() (err error) {
			clients[i], err = net.DialUDP("udp", &net.UDPAddr{IP: net.ParseIP(w.till), Port: 40060}, &net.UDPAddr{IP: net.ParseIP(w.origin), Port: port})
			return err
		})
		defer clients[i].Close()
	}
	for round := range rounds {
		var wait sync.WaitGroup
		for i, c := range clients {
			wait.Go(func() {
				if err := echo(c, size+round); err != nil {
					t.Errorf("round %d, site %d: %v", round, i+1, err)
				}
			})
		}
		wait.Wait()
		if t.Failed() {
			return
		}
	}
}

// echo sends size random bytes and wants them back.
func echo(c *net.UDPConn, size int) error {
	sent, got := make([]byte, size), make([]byte, 1<<16)
	rand.Read(sent)
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		return err
	}
	if _, err := c.Write(sent); err != nil {
		return err
	}
	n, err := c.Read(got)
	if err != nil {
		return err
	}
	if !bytes.Equal(got[:n], sent) {
		return fmt.Errorf("%d bytes came back that are not the %d sent", n, size)
	}
	return nil
}
