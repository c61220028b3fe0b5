package bpf

import (
	"errors"
	"fmt"
	"net"
	"os"

	"github.com/containernetworking/plugins/pkg/ns"
)

// Supported returns nil if the programs can run on this machine: it loads them
// and attaches them by tcx to the loopback of a namespace made for the purpose,
// because versions and capabilities only hint at what a try proves. The error
// says what is lacking.
func Supported() error {
	space, err := ns.TempNetNS()
	if err == nil {
		defer space.Close()
		err = space.Do(tryServer)
	}
	if err != nil {
		return lacking("eBPF with tcx (Linux 6.6)", err)
	}
	return nil
}

// DataplaneSupported is Supported for the fast path of an edge server.
func DataplaneSupported() error {
	space, err := ns.TempNetNS()
	if err == nil {
		defer space.Close()
		err = space.Do(tryDataplane)
	}
	if err != nil {
		return lacking("eBPF with tcx and BTF (Linux 6.6)", err)
	}
	return nil
}

// lacking says why what does not work. Of who may not load programs that alone:
// which map or program was refused first says nothing, and the library's guess at
// a limit of memory would lead astray.
func lacking(what string, err error) error {
	if errors.Is(err, os.ErrPermission) {
		return fmt.Errorf("%s is not for this user: %w", what, os.ErrPermission)
	}
	return fmt.Errorf("%s does not work here: %w", what, err)
}

func tryDataplane(ns.NetNS) error {
	mac := net.HardwareAddr{2, 0, 0, 0, 0, 1}
	d, err := NewDataplane(Spec{MAC: mac, Gateway: mac, Flows: 1})
	if err != nil {
		return err
	}
	s, err := AttachServer(ServerOptions{Interface: loopback, Fast: d})
	if err == nil {
		err = s.Close()
	}
	return errors.Join(err, d.Close())
}

const loopback = 1 // its index in every new namespace

func tryServer(ns.NetNS) error {
	s, err := AttachServer(ServerOptions{Interface: loopback})
	if err != nil {
		return err
	}
	return s.Close()
}
