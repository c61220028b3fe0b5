package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Watch hears when links of a namespace change. One goroutine calls Next.
type Watch struct {
	file *os.File
	buf  []byte
	rest []byte // messages that came with the last one
}

// OpenWatch begins to listen in the namespace of the calling thread.
func OpenWatch() (*Watch, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("watch links: %w", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: unix.RTMGRP_LINK}); err != nil {
		return nil, errors.Join(fmt.Errorf("watch links: %w", err), unix.Close(fd))
	}
	return &Watch{file: os.NewFile(uintptr(fd), "links"), buf: make([]byte, 1<<16)}, nil
}

// Close ends Next.
func (w *Watch) Close() error { return w.file.Close() }

// Next waits for a link to change, and says which MTU it has now. What the kernel
// had no room to tell is lost: ErrMissed, and every link is to be looked at.
func (w *Watch) Next() (index, mtu int, err error) {
	for {
		for len(w.rest) >= unix.SizeofNlMsghdr {
			kind, body := w.message()
			if kind == unix.RTM_NEWLINK && len(body) >= unix.SizeofIfInfomsg {
				if index, mtu, ok := linkMTU(body); ok {
					return index, mtu, nil
				}
			}
		}
		n, err := w.file.Read(w.buf)
		switch {
		case errors.Is(err, unix.ENOBUFS):
			return 0, 0, ErrMissed
		case err != nil:
			return 0, 0, err
		}
		w.rest = w.buf[:n]
	}
}

// ErrMissed is Next's where changes were lost.
var ErrMissed = errors.New("changes of links were missed")

// message takes the next one off rest.
func (w *Watch) message() (kind uint16, body []byte) {
	size := int(binary.NativeEndian.Uint32(w.rest))
	if size < unix.SizeofNlMsghdr || size > len(w.rest) {
		w.rest = nil
		return 0, nil
	}
	kind, body = binary.NativeEndian.Uint16(w.rest[4:]), w.rest[unix.SizeofNlMsghdr:size]
	w.rest = w.rest[min((size+unix.NLMSG_ALIGNTO-1)&^(unix.NLMSG_ALIGNTO-1), len(w.rest)):]
	return kind, body
}

// linkMTU reads an ifinfomsg and its attributes.
func linkMTU(body []byte) (index, mtu int, ok bool) {
	attrs, err := nl.ParseRouteAttr(body[unix.SizeofIfInfomsg:])
	if err != nil {
		return 0, 0, false
	}
	for _, a := range attrs {
		if a.Attr.Type == unix.IFLA_MTU && len(a.Value) == 4 {
			return int(binary.NativeEndian.Uint32(body[4:])), int(binary.NativeEndian.Uint32(a.Value)), true
		}
	}
	return 0, 0, false
}
