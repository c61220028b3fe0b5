package wire

import (
	"errors"
	"fmt"
	"os"
	"strconv"
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

// settings of a node. Everything that matters is written down, because a new
// namespace inherits some values from the host. withV6 says whether anything
// in the plan gives the node an IPv6 address: otherwise it has no IPv6 at all,
// and captures have no noise.
func settings(n *plan.Node, withV6 bool) []setting {
	forward, v6off := "0", "1"
	if n.Forward {
		forward = "1"
	}
	if withV6 {
		v6off = "0"
	}
	s := []setting{
		{"net.ipv4.ip_forward", forward, false}, // first: it resets others
		{impatient, v6off, true},
		{"net.ipv6.conf.default.disable_ipv6", v6off, true},
	}
	for _, scope := range []string{"all", "default", "lo"} {
		c := "net.ipv4.conf." + scope + "."
		s = append(s,
			setting{c + "rp_filter", "0", false}, // replies come back another way than they went
			setting{c + "send_redirects", "0", false},
			setting{c + "accept_redirects", "0", false},
			setting{c + "accept_local", "0", false},
		)
	}
	if withV6 {
		s = append(s,
			setting{"net.ipv6.conf.all.forwarding", "0", true},        // forward6 comes later
			setting{"net.ipv6.conf.default.addr_gen_mode", "1", true}, // none: no link-local noise
			setting{"net.ipv6.conf.default.accept_ra", "0", true},
			setting{"net.ipv6.conf.default.accept_dad", "0", true},
			setting{"net.ipv6.conf.default.accept_redirects", "0", true},
			setting{"net.ipv6.conf.default.router_solicitations", "0", true},
			setting{"net.ipv6.icmp.ratelimit", "0", true},
		)
	}
	if n.Multipath {
		// 55: source, destination, protocol, both ports. Policy 1 would follow
		// the sending socket's hash across veths.
		s = append(s,
			setting{"net.ipv4.fib_multipath_hash_policy", "3", false},
			setting{"net.ipv4.fib_multipath_hash_fields", "55", false},
			setting{multipathSeed, strconv.FormatUint(uint64(n.MultipathSeed()), 10), true}, // Linux 6.11; of IPv6 too
		)
		if withV6 {
			s = append(s,
				setting{"net.ipv6.fib_multipath_hash_policy", "3", false},
				setting{"net.ipv6.fib_multipath_hash_fields", "55", false},
			)
		}
	}
	if n.Kind == plan.KindHost || n.Kind == plan.KindOrigin || n.Kind == plan.KindServer {
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
	if v, asked := map[string]string{spec.ECNOff: "0", spec.ECNRequest: "1"}[n.TCPECN]; asked {
		s = append(s, setting{"net.ipv4.tcp_ecn", v, false})
	}
	// Errors are part of what is measured: none may be held back.
	return append(s,
		setting{"net.ipv4.icmp_ratelimit", "0", false},
		setting{"net.ipv4.icmp_msgs_per_sec", "1000000", true},
		setting{"net.ipv4.icmp_msgs_burst", "100000", true},
	)
}

// forward6 makes a router of IPv6, when its interfaces are quiet: before, each
// would join the group of all routers.
var forward6 = []setting{{"net.ipv6.conf.all.forwarding", "1", false}}

// impatient is the one parameter whose write does not sleep until the kernel's
// routing lock is free: it fails, and the kernel makes it again at once, on the
// processor that whoever holds the lock may be waiting for.
const impatient = "net.ipv6.conf.all.disable_ipv6"

// multipathSeed is the one parameter whose value differs from node to node.
const multipathSeed = "net.ipv4.fib_multipath_hash_seed"

// apply writes the settings in the namespace of the calling thread: /proc/sys/net
// is the opener's.
func apply(ss []setting) error {
	root, err := procfs()
	if err != nil {
		return err
	}
	for _, s := range ss {
		if e := s.unexcused(set(root, s.key, s.value)); e != nil {
			err = errors.Join(err, e)
			break
		}
	}
	return errors.Join(err, unix.Close(root))
}

// unexcused says what could not be set, unless it may be missing.
func (s setting) unexcused(err error) error {
	gone := errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.EINVAL) || errors.Is(err, os.ErrPermission)
	if err == nil || s.optional && gone {
		return nil
	}
	return fmt.Errorf("set %s=%s: %w", s.key, s.value, err)
}

func set(root int, key, value string) error {
	fd, err := openKey(root, key, unix.O_WRONLY)
	if err != nil {
		return err
	}
	_, err = unix.Write(fd, []byte(value))
	return errors.Join(err, unix.Close(fd))
}

// get is the value of a parameter as the kernel writes it.
func get(root int, key string) (string, error) {
	fd, err := openKey(root, key, unix.O_RDONLY)
	if err != nil {
		return "", err
	}
	var b [256]byte
	n, err := unix.Read(fd, b[:])
	return strings.TrimSpace(string(b[:max(n, 0)])), errors.Join(err, unix.Close(fd))
}

func openKey(root int, key string, mode int) (fd int, err error) {
	return unix.Openat(root, "sys/"+strings.ReplaceAll(key, ".", "/"), mode|unix.O_CLOEXEC, 0)
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
