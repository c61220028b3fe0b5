package run

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/homeward-lab/homeward/emu/netns"
	"github.com/homeward-lab/homeward/topologies/plan"
)

// A flow without an answer says something of the network only if everything else
// worked: wires up, servers there, origins listening, witnesses watching. What
// did not work makes the run an error, never a flow that was lost, and never one
// that was well.

// sound says what of a lab that has come up does not work.
func (r *runner) sound(ctx context.Context) error {
	errs := []error{r.running(ctx), r.listening(), r.watching()}
	if err := r.lookAll(ctx); err != nil {
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("the lab is not as planned: %w", err)
	}
	return nil
}

// outlived says what did not work any more when the traffic was over. Servers
// say it when they end.
func (r *runner) outlived() error {
	if err := errors.Join(r.listening(), r.watching()); err != nil {
		return fmt.Errorf("the lab did not last as long as its traffic: %w", err)
	}
	return nil
}

// running says which ends of links cannot carry packets.
func (r *runner) running(ctx context.Context) error {
	ends := map[string][]string{}
	for i := range r.plan.Links {
		for _, e := range []*plan.Endpoint{&r.plan.Links[i].A, &r.plan.Links[i].B} {
			ends[e.Node] = append(ends[e.Node], e.Interface)
		}
	}
	var mu sync.Mutex
	var errs []error
	err := atOnce(ctx, len(r.plan.Nodes), func(i int) error {
		node := r.plan.Nodes[i].ID
		for _, down := range notRunning(r.lab.NS(node), ends[node]) {
			mu.Lock()
			errs = append(errs, fmt.Errorf("%s: %w", node, down))
			mu.Unlock()
		}
		return nil
	}, func(int) {})
	return errors.Join(append(errs, err)...)
}

// notRunning are the interfaces of a namespace that should run and do not.
func notRunning(ns *netns.NS, names []string) (errs []error) {
	var all []netlink.Link
	err := ns.Do(func() (err error) {
		all, err = netlink.LinkList()
		return err
	})
	if err != nil {
		return []error{err}
	}
	for _, name := range names {
		i := slices.IndexFunc(all, func(l netlink.Link) bool { return l.Attrs().Name == name })
		switch {
		case i < 0:
			errs = append(errs, fmt.Errorf("there is no interface %s", name))
		// The carrier, which is there at once; the state follows later.
		case all[i].Attrs().RawFlags&unix.IFF_LOWER_UP == 0:
			errs = append(errs, fmt.Errorf("interface %s is down", name))
		}
	}
	return errs
}

// listening says which origins do not listen.
func (r *runner) listening() error {
	var errs []error
	for i := range r.plan.Services {
		s := &r.plan.Services[i]
		tables, state := []string{"tcp", "tcp6"}, "0A" // TCP_LISTEN
		if s.Kind != "http" {
			tables, state = []string{"udp", "udp6"}, "07" // of a socket without a peer
		}
		var open map[uint16]bool
		err := r.lab.NS(s.Node).Do(func() (err error) {
			open, err = portsIn(tables, state)
			return err
		})
		if err != nil {
			errs = append(errs, err)
			continue
		}
		for _, port := range s.Ports {
			if !open[port] {
				errs = append(errs, fmt.Errorf("%s: nobody listens for %s at port %d", s.Node, s.Kind, port))
			}
		}
	}
	return errors.Join(errs...)
}

// portsIn are the local ports of the sockets in a state, in the namespace of the
// calling thread (proc_net(5)). A kernel without IPv6 has no table of it.
func portsIn(tables []string, state string) (map[uint16]bool, error) {
	ports := map[uint16]bool{}
	for _, table := range tables {
		text, err := os.ReadFile("/proc/thread-self/net/" + table)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		for line := range strings.Lines(string(text)) {
			f := strings.Fields(line) // number, local, remote, state, …
			if len(f) < 4 || f[3] != state {
				continue
			}
			_, port, _ := strings.Cut(f[1], ":")
			n, err := strconv.ParseUint(port, 16, 16)
			if err != nil {
				return nil, fmt.Errorf("%s: port %q: %w", table, port, err)
			}
			ports[uint16(n)] = true
		}
	}
	return ports, nil
}

// watching says which taps have not seen everything since it was last asked.
func (r *runner) watching() error {
	var errs []error
	for i := range r.plan.Nodes {
		node := r.plan.Nodes[i].ID
		if t := r.taps[node]; t != nil {
			if err := t.Err(); err != nil {
				errs = append(errs, fmt.Errorf("the tap on %s: %w", node, err))
			}
		}
	}
	for i, t := range r.egress {
		if err := t.Err(); err != nil {
			errs = append(errs, fmt.Errorf("the tap beside %s: %w", r.plan.Servers[i].Node, err))
		}
	}
	return errors.Join(errs...)
}
