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
	f, err := os.OpenFile("/proc/sys/net/ipv4/conf/"+iface.Name+"/forwarding", os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("stop forwarding on %s: %w", iface.Name, err)
	}
	was, err := io.ReadAll(f)
	if err == nil {
		_, err = f.WriteAt([]byte("0\n"), 0)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("stop forwarding on %s: %w", iface.Name, err), f.Close())
	}
	return func() error {
		_, err := f.WriteAt(append(bytes.TrimSpace(was), '\n'), 0)
		return errors.Join(err, f.Close())
	}, nil
}
