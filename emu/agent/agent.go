// Package agent is one process per edge server: it drives dataplane/hub with
// real packets and the machine's monotonic clock.
//
// The parent side (Start) spawns the process inside the server's namespace and
// talks to it in JSON lines over stdin and stdout; the child side (Main) owns
// the uplink. It decides nothing about a packet: what the hub says is done, and
// what cannot be done is counted with its reason. Its law: when the parent is
// gone, so is the child, and with it everything it attached.
package agent

import (
	"net"
	"time"

	"github.com/homeward-lab/homeward/bpf"
	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/dataplane/unit"
	"github.com/homeward-lab/homeward/emu/late"
	"github.com/homeward-lab/homeward/topologies/plan"
)

// IO is how a server's packets cross between kernel and userspace.
type IO string

const (
	// IOAuto is IOVnet where the machine can, else IOPlain.
	IOAuto IO = ""
	// IOVnet passes superpackets through whole and lets a tcx program push
	// outer headers by mark. It needs eBPF with tcx (Linux 6.6).
	IOVnet IO = "vnet"
	// IOPlain cuts segments, fills in checksums and writes outer headers in
	// userspace: slower, and in need of no program in the kernel.
	IOPlain IO = "plain"
	// IOXDP moves frames by AF_XDP: for rates of small packets. The link's other end
	// must leave no checksums undone, and sends no superpackets.
	IOXDP IO = "xdp"
)

// Dataplane is what carries the packets of flows that are set up.
type Dataplane string

const (
	// Hub decides every packet: the zero value's meaning.
	Hub Dataplane = "hub"
	// EBPF has a program in the kernel carry the flows that the hub has set up
	// (hub.Fast). It needs IOVnet.
	EBPF Dataplane = "ebpf"
)

// header is the first line on the child's stdin.
type header struct {
	Server     plan.Server      `json:"server"`
	IO         IO               `json:"io"`
	Dataplane  Dataplane        `json:"dataplane,omitempty"`
	Peer       bool             `json:"peer,omitempty"`
	Base       int64            `json:"base_ns"` // CLOCK_MONOTONIC at the start of the run
	UplinkMAC  net.HardwareAddr `json:"uplink_mac"`
	GatewayMAC net.HardwareAddr `json:"gateway_mac"`
	Socket     string           `json:"socket,omitempty"`
	Flows      int              `json:"flows,omitempty"`
	Kernel     *bpf.Kernel      `json:"kernel,omitempty"` // EBPF's, if the parent could find it out
	Realtime   bool             `json:"realtime,omitempty"`
}

// command is any further line on the child's stdin.
type command struct {
	Reconfigure *hub.Config      `json:"reconfigure,omitempty"`
	Learn       []hub.Attachment `json:"learn,omitempty"`
	Look        int              `json:"look,omitempty"` // the number of the question
	// Hold keeps the kernel's part from carrying anything, or lets it again.
	Hold *bool `json:"hold,omitempty"`
	Stop bool  `json:"stop,omitempty"`
}

// message is a line on the child's stdout. Exactly one field is set.
type message struct {
	Hello  *Hello      `json:"hello,omitempty"`
	Events []hub.Event `json:"events,omitempty"`
	// Applied answers a Reconfigure or Hold; it holds the error's text, empty for none.
	Applied *string `json:"applied,omitempty"`
	Look    *Look   `json:"look,omitempty"`
	Final   *Final  `json:"final,omitempty"`
}

// Hello is what a child says when its uplink is open.
type Hello struct {
	Pid int `json:"pid"`
	// IO is the engine in use, never IOAuto.
	IO IO `json:"io"`
	// Features are the kernel features in use, for people and run.json.
	Features []string `json:"features"`
}

// Final is what a child says before it ends in order.
type Final struct {
	// Counters are the hub's; the drops are in Drops.
	Counters hub.Counters `json:"counters"`
	// Drops are the hub's drops by reason; reasons that never occurred are absent.
	Drops map[string]uint64 `json:"drops"`
	// IO counts the driver's own packets: what was received and sent, and what
	// was lost by rx_… and tx_… reason. Zeros are absent.
	IO map[string]uint64 `json:"io"`
	// MaxRSS is the most memory the process held.
	MaxRSS unit.Bytes `json:"max_rss"`
	// Late is when a frame had waited for the process, ns of the run; nothing of one
	// that is not told when frames come.
	Late late.Told `json:"late,omitzero"`
}

// Event is a hub event and the server it happened on.
type Event struct {
	// Node is the server's, "lhr.1".
	Node string
	hub.Event
}

// Bounds.
const (
	// helloWait is how long Start waits for a child by default.
	helloWait = 30 * time.Second
	// eventQueue is how many batches of events wait for the parent to read; at
	// the bound the hub waits, because a lost event is a lie in the session log.
	eventQueue = 4096
)
