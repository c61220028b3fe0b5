package bpf

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/cilium/ebpf/link"
)

// SocketOptions say where AttachSocket attaches. All fields but Own are required.
type SocketOptions struct {
	// Interface is the uplink's index in the calling thread's namespace.
	Interface int
	// Own are addresses whose packets stay the kernel's, see ServerOptions.
	Own []netip.Addr
	// Socket is the AF_XDP socket that gets the other IP packets.
	Socket int
}

// Socket is the program that gives a server's packets to an AF_XDP socket.
type Socket struct {
	objects xskObjects
	link    link.Link
}

// AttachSocket loads the program and attaches it to the uplink, by native XDP:
// the link's other end sends no superpackets from then on. Close, or the
// process's death, detaches it.
func AttachSocket(o SocketOptions) (*Socket, error) {
	s := new(Socket)
	if err := loadXskObjects(&s.objects, nil); err != nil {
		return nil, fmt.Errorf("load program for AF_XDP: %w", err)
	}
	if err := s.attach(o); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Socket) attach(o SocketOptions) (err error) {
	for _, a := range o.Own {
		if err := putOwn(s.objects.Own, s.objects.Own6, a); err != nil {
			return err
		}
	}
	if err := s.objects.Sockets.Put(uint32(0), uint32(o.Socket)); err != nil {
		return fmt.Errorf("AF_XDP socket %d: %w", o.Socket, err)
	}
	s.link, err = link.AttachXDP(link.XDPOptions{Program: s.objects.ToSocket, Interface: o.Interface, Flags: link.XDPDriverMode})
	if err != nil {
		return fmt.Errorf("attach XDP to interface %d: %w", o.Interface, err)
	}
	return nil
}

// Close detaches and unloads the program. It is idempotent.
func (s *Socket) Close() error {
	var err error
	if s.link != nil {
		err = s.link.Close()
		s.link = nil
	}
	return errors.Join(err, s.objects.Close())
}
