package wire

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/homeward-lab/homeward/topologies/plan"
	"github.com/homeward-lab/homeward/topologies/spec"
)

// setting is one kernel parameter of a namespace.
type setting struct {
	key, value string
	// optional parameters depend on how the kernel was built or how old it
	// is; where they are missing there is nothing to mend.
	optional bool
}

// everyInterface is what each interface is to have, lo too: replies come back another
// way than they went, and redirects would change routes.
func everyInterface() []value {
	return []value{{rpFilter, 0}, {sendRedirects, 0}, {acceptRedirects, 0}, {acceptLocal, 0}}
}

// settings of a node, but for what lo has of its own (everyInterface) and whether there
// is IPv6 (disable6). Everything that matters is written down, because a new
// namespace inherits some values from the host.
func settings(c class) []setting {
	forward := "0"
	if c.forward {
		forward = "1"
	}
	s := []setting{{"net.ipv4.ip_forward", forward, false}} // first: it resets others
	for _, scope := range []string{"all", "default"} {
		c := "net.ipv4.conf." + scope + "."
		s = append(s,
			setting{c + "rp_filter", "0", false},
			setting{c + "accept_redirects", "0", false},
			setting{c + "accept_local", "0", false},
		)
		if forward == "1" { // who forwards nothing redirects nobody
			s = append(s, setting{c + "send_redirects", "0", false})
		}
	}
	if c.v6 {
		s = append(s,
			setting{"net.ipv6.conf.all.forwarding", "0", true},        // forward6 comes later
			setting{"net.ipv6.conf.default.addr_gen_mode", "1", true}, // none: no link-local noise
			setting{"net.ipv6.conf.default.accept_ra", "0", true},
			setting{"net.ipv6.conf.default.accept_dad", "0", true},
			setting{"net.ipv6.conf.default.accept_redirects", "0", true},
			setting{"net.ipv6.conf.default.router_solicitations", "0", true},
			setting{"net.ipv6.icmp.ratelimit", "0", true},
			setting{"net.ipv4.icmp_msgs_per_sec", "1000000", true}, // of IPv6 too
			setting{"net.ipv4.icmp_msgs_burst", "100000", true},
		)
	}
	if c.multipath {
		// 55: source, destination, protocol, both ports. Policy 1 would follow
		// the sending socket's hash across veths.
		s = append(s,
			setting{"net.ipv4.fib_multipath_hash_policy", "3", false},
			setting{"net.ipv4.fib_multipath_hash_fields", "55", false},
			setting{multipathSeed, "", true}, // Linux 6.11; of IPv6 too
		)
		if c.v6 {
			s = append(s,
				setting{"net.ipv6.fib_multipath_hash_policy", "3", false},
				setting{"net.ipv6.fib_multipath_hash_fields", "55", false},
			)
		}
	}
	if c.sockets {
		s = append(s,
			setting{"net.ipv4.ip_local_port_range", "1024\t65535", false},
			// ICMP echo from ordinary sockets. An unprivileged user namespace
			// cannot map every group.
			setting{"net.ipv4.ping_group_range", "0\t2147483647", true},
			// For programs of the user's. Where the host allows reno alone to
			// namespaces, that it is: anything but what the machine happens to use.
			setting{"net.ipv4.tcp_congestion_control", "reno", true},
			setting{"net.ipv4.tcp_congestion_control", "cubic", true},
			setting{"net.ipv4.tcp_mtu_probing", "0", false},
			setting{"net.ipv4.tcp_rmem", fmt.Sprintf("4096\t%d\t%d", plan.ReceiveBuffer, plan.ReceiveBuffer), true}, // Linux 4.15
		)
	}
	if v, asked := map[string]string{spec.ECNOff: "0", spec.ECNRequest: "1"}[c.ecn]; asked {
		s = append(s, setting{"net.ipv4.tcp_ecn", v, false})
	}
	// Errors are part of what is measured: none may be held back, of whatever type.
	return append(s, setting{"net.ipv4.icmp_ratemask", "0", false})
}

// forward6 makes a router of IPv6, when its interfaces are quiet: before, each
// would join the group of all routers.
var forward6 = []setting{{"net.ipv6.conf.all.forwarding", "1", false}}

// disable6 is the parameter of all interfaces, of today and later, that turns IPv6 off.
const disable6 = "net.ipv6.conf.all.disable_ipv6"

// off6 is its value. Where nothing in the plan gives a node an IPv6 address it has no IPv6
// at all, and captures have no noise.
func off6(v6 bool) string {
	if v6 {
		return "0"
	}
	return "1"
}

// multipathSeed is the one parameter whose value differs from node to node.
const multipathSeed = "net.ipv4.fib_multipath_hash_seed"

// apply writes the settings in the namespace of the calling thread: /proc/sys/net
// is the opener's.
func apply(ss []setting) error {
	root, err := procfs()
	if err != nil {
		return err
	}
	f := openFiles(root)
	for _, s := range ss {
		if e := s.unexcused(f.set(s.key, s.value)); e != nil {
			err = errors.Join(err, e)
			break
		}
	}
	return errors.Join(err, f.close(), unix.Close(root))
}

// unexcused says what could not be set, unless it may be missing.
func (s setting) unexcused(err error) error {
	gone := errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.EINVAL) || errors.Is(err, os.ErrPermission)
	if err == nil || s.optional && gone {
		return nil
	}
	return fmt.Errorf("set %s=%s: %w", s.key, s.value, err)
}

// files are the parameters of a namespace, in an instance of procfs.
type files struct {
	root int
	// v4 is the folder of most of them: for each part of a path the kernel takes a lock
	// and asks whether it is still what it was. -1 where it is missing.
	v4 int
}

// v4Prefix is what the keys in the folder of IPv4 begin with.
const v4Prefix = "net.ipv4."

// openFiles finds the parameters of the namespace of the calling thread.
func openFiles(root int) files {
	v4, err := unix.Openat(root, "sys/net/ipv4", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		v4 = -1 // opening a file of it says why
	}
	return files{root, v4}
}

func (f files) close() error {
	if f.v4 < 0 {
		return nil
	}
	return unix.Close(f.v4)
}

func (f files) open(key string, mode int) (fd int, err error) {
	at, path := f.root, "sys/"+strings.ReplaceAll(key, ".", "/")
	if rest, in := strings.CutPrefix(key, v4Prefix); in && f.v4 >= 0 {
		at, path = f.v4, strings.ReplaceAll(rest, ".", "/")
	}
	return unix.Openat(at, path, mode|unix.O_CLOEXEC, 0)
}

func (f files) set(key, value string) error {
	fd, err := f.open(key, unix.O_WRONLY)
	if err != nil {
		return err
	}
	_, err = unix.Write(fd, []byte(value))
	return errors.Join(err, unix.Close(fd))
}

// get is the value of a parameter as the kernel writes it.
func (f files) get(key string) (string, error) {
	fd, err := f.open(key, unix.O_RDONLY)
	if err != nil {
		return "", err
	}
	var b [256]byte
	n, err := unix.Read(fd, b[:])
	return strings.TrimSpace(string(b[:max(n, 0)])), errors.Join(err, unix.Close(fd))
}

// procfs opens a fresh instance of procfs, mounted nowhere. In one instance the
// files of that name of all namespaces are in one list, which the kernel walks at
// each opening: with a thousand namespaces that is most of what bringing them up
// costs. Where a fresh one may not be made (a user namespace behind a masked
// /proc) it is the machine's.
func procfs() (root int, err error) {
	if root, err = freshProcfs(); err == nil {
		return root, nil
	}
	root, err = unix.Open("/proc", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("open /proc: %w", err)
	}
	return root, nil
}

func freshProcfs() (root int, err error) {
	fs, err := unix.Fsopen("proc", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, err
	}
	defer unix.Close(fs)
	if err := unix.FsconfigCreate(fs); err != nil {
		return -1, err
	}
	return unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, 0)
}
