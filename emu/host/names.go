package host

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/homeward-lab/homeward/dataplane/dns"
	"github.com/homeward-lab/homeward/reports/record"
	"github.com/homeward-lab/homeward/topologies/plan"
)

// names is a name server or a resolver, with the sockets that it is asked at and
// asks from.
type names struct {
	mu      sync.Mutex
	server  *dns.Server
	sockets map[netip.AddrPort]*net.UDPConn
}

// addresses are those that a service has sockets at.
func addresses(svc *plan.Service) []netip.Addr {
	all := []netip.Addr{svc.Address}
	if c := svc.DNS; c != nil && c.Source.IsValid() && c.Source != svc.Address {
		all = append(all, c.Source)
	}
	return all
}

// serveNames returns a function that serves sockets, all with one server.
func (o *origin) serveNames() func(fd int, at netip.AddrPort) error {
	n := &names{server: dns.NewServer(o.svc.DNS), sockets: map[netip.AddrPort]*net.UDPConn{}}
	return func(fd int, at netip.AddrPort) error {
		c, err := packetConn(fd)
		if err != nil {
			return err
		}
		o.closers = append(o.closers, c)
		n.mu.Lock()
		n.sockets[at] = c
		n.mu.Unlock()
		o.running.Go(func() { n.serve(c, at) })
		return nil
	}
}

func (n *names) serve(c *net.UDPConn, at netip.AddrPort) {
	in := make([]byte, maxDatagram)
	for {
		k, from, err := c.ReadFromUDPAddrPort(in)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // an ICMP error about an earlier answer
		}
		n.mu.Lock()
		d, ok := n.server.Handle(in[:k], netip.AddrPortFrom(from.Addr().Unmap(), from.Port()), at)
		out := n.sockets[d.From]
		n.mu.Unlock()
		if ok && out != nil {
			_, _ = out.WriteToUDPAddrPort(d.Payload, d.To) // who asked will miss it, and say so
		}
	}
}

// find is where a flow goes, if that is a name: its client asks, once. An outcome
// that has a result says that the flow ends with that.
func (r *runner) find(ctx context.Context, f *plan.Flow) (*plan.Flow, Outcome) {
	if f.Query == nil {
		return f, Outcome{}
	}
	start := time.Now()
	failed := func(result record.Result, reason string) (*plan.Flow, Outcome) {
		return f, Outcome{Start: start, Result: result, Reason: reason}
	}
	c, err := r.question(ctx, f)
	if err != nil {
		return failed(record.Failed, err.Error())
	}
	defer c.file.Close()
	defer c.interrupt()()
	a, err := lookup(c, f, start.Add(min(f.Connect, f.Timeout)))
	if err != nil {
		return failed(c.failure(err, "the resolver"))
	}
	if !a.Address.IsValid() {
		return failed(record.Failed, plan.NoAddress(f.Query.Name))
	}
	g, err := f.Resolved(a.Address)
	if err != nil {
		return failed(record.Failed, err.Error())
	}
	return &g, Outcome{}
}

// question opens the socket of a question.
func (r *runner) question(ctx context.Context, f *plan.Flow) (*conn, error) {
	var fd int
	q := f.Query
	err := r.cfg.Namespace(f.Client).Do(func() (err error) {
		fd, err = open(&plan.Flow{Proto: plan.UDP, Src: q.Src})
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := unix.Connect(fd, sockaddr(q.Resolver)); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("connect to %s: %w", q.Resolver, err)
	}
	return newConn(ctx, fd, r.late(f))
}

// lookup asks, and waits for the answer.
func lookup(c *conn, f *plan.Flow, until time.Time) (dns.Answer, error) {
	if err := c.deadline(until); err != nil {
		return dns.Answer{}, err
	}
	id := uint16(f.Nonce)
	if _, err := c.file.Write(dns.Ask(id, f.Query.Name, f.Src.Addr()).Append(nil)); err != nil {
		return dns.Answer{}, err
	}
	in := make([]byte, maxDatagram)
	for {
		n, err := c.receive(in)
		if err != nil {
			return dns.Answer{}, err
		}
		if a, ok := dns.ParseAnswer(in[:n]); ok && a.ID == id && a.Name == f.Query.Name {
			return a, nil
		}
	}
}
