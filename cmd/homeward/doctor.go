//go:build linux

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/homeward-lab/homeward/bpf"
	"github.com/homeward-lab/homeward/emu/netem"
	"github.com/homeward-lab/homeward/emu/netns"
	"github.com/homeward-lab/homeward/emu/userns"
)

// finding is what doctor says of one capability. Names are the words of a scenario's needs.
type finding struct {
	Name string `json:"name"`
	OK   bool   `json:"ok"`
	// For says what it is good for, Mend how to get it.
	For   string `json:"for"`
	Found string `json:"found"`
	Mend  string `json:"mend,omitempty"`
	// Required is true if no lab runs without it.
	Required bool `json:"required"`
}

func newDoctor() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use: "doctor", Short: "Say what this machine can do, and how to get the rest", GroupID: "machine", Args: cobra.NoArgs,
		Long: `Doctor tries each thing a lab needs, in a namespace it throws away, and says
what is missing and the line that mends it. It changes nothing.

Exit code 0: labs run here. 3: they do not, and the reasons are named.`,
		Example: "  homeward doctor\n  sudo homeward doctor --json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if done, err := rootless(cmd); done && !errors.Is(err, userns.ErrDenied) {
				return err // it has looked from inside
			}
			all := examine()
			if asJSON {
				enc := json.NewEncoder(cmd.OutOrStdout())
				enc.SetIndent("", "  ")
				if err := enc.Encode(all); err != nil {
					return err
				}
			} else {
				prescribe(cmd.OutOrStdout(), all)
			}
			for _, f := range all {
				if f.Required && !f.OK {
					return &exit{code: exitLack}
				}
			}
			return nil
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func prescribe(w io.Writer, all []finding) {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, f := range all {
		mark := "ok"
		if !f.OK {
			mark = "missing"
			if !f.Required {
				mark = "absent"
			}
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\n", mark, f.Name, f.For, f.Found)
	}
	tw.Flush()
	for _, f := range all {
		if !f.OK && f.Mend != "" {
			fmt.Fprintf(w, "\n%s: %s\n", f.Name, f.Mend)
		}
	}
}

// examine tries everything. Later findings build on earlier ones.
func examine() []finding {
	var all []finding
	add := func(name, purpose, mend string, required bool, try func() (string, error)) bool {
		f := finding{Name: name, For: purpose, Required: required}
		found, err := try()
		f.OK, f.Found = err == nil, found
		if err != nil {
			f.Found, f.Mend = err.Error(), mend
		}
		all = append(all, f)
		return f.OK
	}
	ns, err := netns.New()
	if ns != nil {
		defer ns.Close()
	}
	if os.Geteuid() != 0 || userns.Inside() {
		add("userns", "labs without root: a user namespace", userns.Mend(), false, func() (string, error) {
			if !userns.Inside() {
				return "", userns.ErrDenied
			}
			return "this is one", nil
		})
	}
	root := add("netns", "labs: one namespace for each node", "run as root: sudo homeward …", true, func() (string, error) { return "made one", err })
	if root {
		add("veth", "labs: links", "the kernel needs CONFIG_VETH (modprobe veth)", true, func() (string, error) { return tryVeth(ns) })
		add("af_packet", "dataplane: packets to and from the hub", "the kernel needs CONFIG_PACKET, the process CAP_NET_RAW", true, func() (string, error) { return tryPacket(ns) })
		add("tcx", "dataplane: tunnels in the kernel; without it they are written in userspace, slower", "Linux 6.6 or newer and CAP_BPF: run as root, or have root run homeward grant (Linux 6.9); without it nothing else is lost", false, func() (string, error) { return "attached a program", bpf.Supported() })
	}
	if root {
		add("netem", "links: --wire netem has the kernel delay and lose packets", "the kernel needs "+netem.Feature+": modprobe sch_netem. The pump, which is the default, does without", false, func() (string, error) { return "made a queue", netem.Possible() })
	}
	add("nofile", "labs: a few descriptors for each node", "raise the limit, as root: ulimit -n 20000", true, tryFiles)
	add("sim", "engine: the same hub in virtual time", "", false, func() (string, error) { return "runs everywhere", nil })
	add("emu-hub", "engine: the Go hub on real packets", "see what is missing above", true, func() (string, error) {
		for _, f := range all {
			if f.Required && !f.OK {
				return "", fmt.Errorf("needs %s", f.Name)
			}
		}
		return "this version's engine", nil
	})
	add("emu-ebpf", "engine: that hub, whose flows the kernel carries once they are set up; the default where it works", "Linux 6.6 or newer with tcx and BTF (CONFIG_DEBUG_INFO_BTF), and CAP_BPF: run as root, or have root run homeward grant (Linux 6.9). emu-hub does without", false, func() (string, error) {
		return "loaded and attached it", bpf.DataplaneSupported()
	})
	return all
}

func tryVeth(ns *netns.NS) (string, error) {
	return "made a pair", ns.Do(func() error {
		attrs := netlink.NewLinkAttrs()
		attrs.Name = "a"
		return netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: "b"})
	})
}

func tryPacket(ns *netns.NS) (string, error) {
	return "with vnet headers", ns.Do(func() error {
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return os.NewSyscallError("socket(AF_PACKET)", err)
		}
		defer unix.Close(fd)
		return os.NewSyscallError("PACKET_VNET_HDR", unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_VNET_HDR, 1))
	})
}

func tryFiles() (string, error) {
	var lim unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &lim); err != nil {
		return "", err
	}
	const small = 256 // a lab of a handful of nodes
	if lim.Max < small {
		return "", fmt.Errorf("at most %d open files, want %d or more", lim.Max, small)
	}
	return fmt.Sprintf("up to %d open files", lim.Max), nil
}

// missingNeeds says which of a scenario's needs this machine lacks, and why;
// empty if none.
func missingNeeds(needs []string) string {
	if len(needs) == 0 {
		return ""
	}
	var lacks []string
	all := examine()
	for _, need := range needs {
		i := slices.IndexFunc(all, func(f finding) bool { return f.Name == need })
		switch {
		case i < 0:
			lacks = append(lacks, need+" (this version does not know it)")
		case !all[i].OK:
			lacks = append(lacks, need+" ("+all[i].Found+")")
		}
	}
	if lacks == nil {
		return ""
	}
	return "needs " + strings.Join(lacks, ", ")
}
