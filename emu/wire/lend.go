package wire

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// LendMTU gives an interface an MTU for a while: was is what it was given last.
// If somebody else has given it another one meanwhile, the smaller one stays. fd
// is any socket of the namespace.
func LendMTU(fd int, name string, was, mtu int) error {
	request, err := unix.NewIfreq(name)
	if err != nil {
		return fmt.Errorf("MTU of %q: %w", name, err)
	}
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFMTU, request); err != nil {
		return fmt.Errorf("MTU of %s: %w", name, err)
	}
	if has := int(request.Uint32()); has != was && mtu >= has {
		return nil
	}
	request.SetUint32(uint32(mtu))
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFMTU, request); err != nil {
		return fmt.Errorf("MTU %d of %s: %w", mtu, name, err)
	}
	return nil
}
