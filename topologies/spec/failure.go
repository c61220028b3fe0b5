package spec

import "github.com/homeward-lab/homeward/dataplane/unit"

// Health is a tunnel's probing (SEMANTICS 2.8): every server pings through it, and a tunnel that is degraded or down
// adds to the priority of its routes. All times are multiplied by timers.scale.
type Health struct {
	// Type of probe: request asks the customer's router, reply sends what the router has but to forward back; empty means reply.
	Type string `yaml:"type,omitempty" json:"type,omitempty" jsonschema:"enum=reply,enum=request"`
	// Rate of probes: low is every 10 s, mid every second, high every 250 ms; empty means mid. A failed probe is repeated twice at
	// once, so that a tunnel is known to be down an interval and 600 ms after the last packet at the latest.
	Rate string `yaml:"rate,omitempty" json:"rate,omitempty" jsonschema:"enum=low,enum=mid,enum=high"`
}

// Group joins on-ramps of a site, so that a flow can move from one to another
// and its replies follow (SEMANTICS 1.8). Members that say nothing of health are
// probed with its defaults.
type Group struct {
	// Primary is the on-ramp that the site uses while it can.
	Primary string `yaml:"primary" json:"primary"`
	// Backups in the order in which they are used.
	Backups []string `yaml:"backups,omitempty" json:"backups,omitempty"`
	// Failback says when a flow whose client uses the primary again goes back to it: immediate, hold-down (HoldDown after it left,
	// at the earliest) or never; empty means immediate.
	Failback string `yaml:"failback,omitempty" json:"failback,omitempty" jsonschema:"enum=immediate,enum=hold-down,enum=never"`
	// HoldDown is how long a flow stays on a backup, multiplied by timers.scale; 0 means 30 s.
	HoldDown unit.Duration `yaml:"hold_down,omitempty" json:"hold_down,omitempty"`
	// Repin says when replies follow a flow whose packets come by another member: immediate, or after the one before was silent for
	// RepinAfter or is down; empty means after.
	Repin string `yaml:"repin,omitempty" json:"repin,omitempty" jsonschema:"enum=immediate,enum=after"`
	// RepinAfter is multiplied by timers.scale; 0 means 200 ms.
	RepinAfter unit.Duration `yaml:"repin_after,omitempty" json:"repin_after,omitempty"`
	// Predictive sends replies by the healthiest member while the one that the flow is on is down; true unless given.
	Predictive *bool `yaml:"predictive,omitempty" json:"predictive,omitempty"`
}

// CPE is how the branch router chooses among on-ramps. Without it, all goes by
// the first one of the file (of the group: its primary), whatever happens.
type CPE struct {
	// Select is primary-backup (the first that is not down, in the order of the group or else of the file) or ecmp (every flow by one
	// of all that are not down); empty means primary-backup.
	Select string `yaml:"select,omitempty" json:"select,omitempty" jsonschema:"enum=primary-backup,enum=ecmp"`
	// Detect is probe (a ping to the servers' address inside each tunnel, at the rate and by the rules of the on-ramp's health) or none
	// (all on-ramps count as up for ever); empty means probe.
	Detect string `yaml:"detect,omitempty" json:"detect,omitempty" jsonschema:"enum=probe,enum=none"`
}

// Fault is something that goes wrong, and heals. Nobody is told of it: whoever
// has to know must notice. Without For it stays until the end of the run.
type Fault struct {
	ID string `yaml:"id" json:"id"`
	// At is when, from the start of traffic.
	At unit.Duration `yaml:"at" json:"at"`
	// Do says what happens. To links: cut (nothing passes, the ends notice nothing), flap (cut and mended in turns), blackhole (nothing
	// passes in one direction), degrade (the link is as Impairment says), mtu (packets longer than MTU do not pass; both ends of a
	// tunnel know; of a link nobody, before it is told by ICMP). To nodes: partition (what is selected reaches each other and nothing else), pause (a server stands still, a router
	// forwards nothing), kill (a server or router loses its power and its state; when it heals, it starts anew), restart (it is
	// killed and starts anew at once, or after For). To a datacenter: withdraw (Address is no longer announced from there), drain (it
	// withdraws from ingress, waits, and then its servers stop in order), move (the egress address Address leaves it for To; with Wait
	// flows that have it may go on for so long, without they end at once; every datacenter knows after its propagation), release (no flow begins with the IPv4
	// egress address Address of the datacenter any more; with Wait those that have it may go on for so long), allocate (it takes Address, a
	// spare or released one), freeze (it hears no
	// more of what is learned by BGP elsewhere, and keeps what it has). To servers also: reassign (new flows are the others' of their datacenter; they keep those
	// that they have). To an on-ramp: withdraw (its router no longer tells the prefix
	// Address by BGP).
	Do string `yaml:"do" json:"do" jsonschema:"enum=cut,enum=flap,enum=blackhole,enum=degrade,enum=mtu,enum=partition,enum=pause,enum=kill,enum=restart,enum=withdraw,enum=drain,enum=move,enum=release,enum=allocate,enum=freeze,enum=reassign"`
	// On selects what it happens to: an on-ramp such as shop.1.wan (its line), two ends of a link joined by "-", a node, a site or a datacenter.
	On string `yaml:"on" json:"on"`
	// For is how long; then it heals.
	For unit.Duration `yaml:"for,omitempty" json:"for,omitempty"`
	// Pick so many of what On selects, drawn from the seed; 0 means all.
	Pick int `yaml:"pick,omitempty" json:"pick,omitempty"`
	// Direction of blackhole: up is away from the host, toward the middle of the Internet.
	Direction string `yaml:"direction,omitempty" json:"direction,omitempty" jsonschema:"enum=up,enum=down"`
	// Every is the period of flap, half of which the link is cut; 0 means 1 s.
	Every unit.Duration `yaml:"every,omitempty" json:"every,omitempty"`
	// MTU of mtu, in bytes.
	MTU int `yaml:"mtu,omitempty" json:"mtu,omitempty"`
	// Address of withdraw: an egress address of the datacenter, or "tunnel", the address that all tunnels go to; of an on-ramp, the
	// prefix of a route with source: bgp.
	Address string `yaml:"address,omitempty" json:"address,omitempty"`
	// To is the datacenter that an address moves to.
	To string `yaml:"to,omitempty" json:"to,omitempty"`
	// Wait of drain, between withdrawal and stop, 0 means 1 s; of move and release, how long flows go on, 0 means not at all.
	Wait unit.Duration `yaml:"wait,omitempty" json:"wait,omitempty"`
	// Impairment of degrade, in both directions, instead of what the link does otherwise.
	Impairment *Impairment `yaml:"impairment,omitempty" json:"impairment,omitempty"`
}

// Check is what must hold. Exactly one of Expect, Always, Eventually and Never
// is given. Expect is judged at the end; the others over the time line, at each
// moment at which a flow, a session or an event changes what is known.
type Check struct {
	ID     string `yaml:"id" json:"id"`
	Expect string `yaml:"expect,omitempty" json:"expect,omitempty"`
	// Always must hold at every moment from the start of traffic, or of After.
	Always string `yaml:"always,omitempty" json:"always,omitempty"`
	// Eventually must hold at some moment, at the latest Within after the start of traffic, or of After.
	Eventually string        `yaml:"eventually,omitempty" json:"eventually,omitempty"`
	Within     unit.Duration `yaml:"within,omitempty" json:"within,omitempty"`
	// Never must not hold at any moment.
	Never string `yaml:"never,omitempty" json:"never,omitempty"`
	// After starts judging at a fault: flows that had ended before, and events of before, do not count.
	After string `yaml:"after,omitempty" json:"after,omitempty"`
	// Vs compares with another variant, whose measures the expression reaches as vs.<traffic>.<measure>.
	Vs string `yaml:"vs,omitempty" json:"vs,omitempty"`
	// Level warning does not fail the run; empty means error.
	Level string `yaml:"level,omitempty" json:"level,omitempty" jsonschema:"enum=error,enum=warning"`
}

// Words of CPE.Select and CPE.Detect.
const (
	PrimaryBackup = "primary-backup"
	ECMP          = "ecmp"
	DetectProbe   = "probe"
	DetectNone    = "none"
)

// Words of Fault.Do.
const (
	Cut       = "cut"
	Flap      = "flap"
	Blackhole = "blackhole"
	Degrade   = "degrade"
	LowerMTU  = "mtu"
	Partition = "partition"
	Pause     = "pause"
	Kill      = "kill"
	Restart   = "restart"
	Withdraw  = "withdraw"
	Drain     = "drain"
	Move      = "move"
	Release   = "release"
	Allocate  = "allocate"
	Freeze    = "freeze"
	Reassign  = "reassign"
)

// TunnelAddress is the word of Fault.Address for the address of all tunnels.
const TunnelAddress = "tunnel"

// FaultWords are the words of Fault.Do, in the language's order.
func FaultWords() []string {
	return []string{Cut, Flap, Blackhole, Degrade, LowerMTU, Partition, Pause, Kill, Restart, Withdraw, Drain, Move, Release, Allocate, Freeze, Reassign}
}
