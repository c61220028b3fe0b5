package branch

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
)

// StopForwarding keeps the kernel from routing what arrives on the link: it
// sees every packet that the pump takes from there, and would send it into the
// tunnel again. The function returned restores what was; it works from any
// namespace, because the file stays open.
func StopForwarding(ifindex int) (restore func() error, err error) {
	iface, err := net.InterfaceByIndex(ifindex)
	if err != nil {
		return nil, fmt.Errorf("tunnel's peer: %w", err)
	}
	four, err := setFor("/proc/sys/net/ipv4/conf/"+iface.Name+"/forwarding", "0")
	if err != nil {
		return nil, fmt.Errorf("stop forwarding on %s: %w", iface.Name, err)
	}
	// IPv6 forwards by one setting for all links: this link has none of it. A
	// kernel without IPv6 forwards none.
	six, err := setFor("/proc/sys/net/ipv6/conf/"+iface.Name+"/disable_ipv6", "1")
	switch {
	case errors.Is(err, os.ErrNotExist):
		return four, nil
	case err != nil:
		return nil, errors.Join(fmt.Errorf("stop forwarding IPv6 on %s: %w", iface.Name, err), four())
	}
	return func() error { return errors.Join(four(), six()) }, nil
}

// setFor writes a kernel parameter until restore puts back what it was.
func setFor(path, value string) (restore func() error, err error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	was, err := io.ReadAll(f)
	if err == nil {
		_, err = f.WriteAt([]byte(value+"\n"), 0)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() error {
		_, err := f.WriteAt(append(bytes.TrimSpace(was), '\n'), 0)
		return errors.Join(err, f.Close())
	}, nil
}
