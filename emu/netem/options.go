package netem

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/vishvananda/netlink/nl"

	"github.com/homeward-lab/homeward/dataplane/impair"
	"github.com/homeward-lab/homeward/dataplane/unit"
)

// Options are what a netem queue of the kernel is told (linux/pkt_sched.h). Every
// one of them is told each time: what is left out stays as it was.
type Options struct {
	// Limit is how many packets may be inside, those under way among them.
	Limit           uint32
	Latency, Jitter time.Duration
	// Table is the jitter's distribution: quantiles at equal distances, in units
	// of Jitter/tableScale. nil without jitter.
	Table []int16
	// Chances in units of 1/(2³²-1).
	Loss, Duplicate, Corrupt, Reorder uint32
	// Burst is the chain of bursts of loss; zero where Loss is not of bursts.
	Burst Burst
	// Gap is of reordering; 0 is none.
	Gap uint32
	// Rate in bytes a second of packets with Overhead bytes more; 0 is unlimited.
	Rate     uint64
	Overhead int32
	Seed     uint64
}

// Burst is a chain of two states (Gilbert, 1960): the chance that a burst begins
// after a packet that passed, and that it ends after one that was lost.
type Burst struct{ Begins, Ends uint32 }

const (
	// tableSize is how many quantiles a table has, tableScale what stands for 1
	// (NETEM_DIST_SCALE).
	tableSize  = 4096
	tableScale = 8192
	// tableEnd is the most that a table can say, in units of the jitter.
	tableEnd = math.MaxInt16 / tableScale
	// orderly is a rate at which no packet takes a nanosecond. With a rate a
	// packet never leaves before the one that came before it.
	orderly = 1 << 50
	// fullPacket is what a queue in bytes is counted in, unlimitedQueue the bound
	// where nothing is asked: as much memory as the pump would take.
	fullPacket     = 1500
	unlimitedQueue = 512 << 20 / 2048
	// header is what the kernel counts of each packet and the file does not.
	header = 14
)

// RefusedError names what netem does not do as the file means it.
type RefusedError struct{ Why []string }

// Error lists all of it.
func (e *RefusedError) Error() string {
	return "netem cannot do that: " + strings.Join(e.Why, "; ")
}

// Refused says what of a config netem would do otherwise than impair.Line does;
// nil if nothing. Two differences are left to it: a queue counts packets of 1500
// bytes, and the bit that is flipped may be one of the Ethernet header.
func Refused(c impair.Config) error {
	var why []string
	say := func(is bool, what string) {
		if is {
			why = append(why, what)
		}
	}
	say(c.Trace != nil, "trace: capacity that changes by the millisecond")
	say(c.Jitter > 0 && c.Distribution == impair.Pareto, fmt.Sprintf("jitter_distribution pareto: its tables end at %d times the jitter", tableEnd+1))
	say(c.Jitter > 0 && c.Correlation > 0, "jitter_correlation: it would make the jitter narrower than asked")
	say(c.Jitter > 0 && c.Rate > 0, "jitter with rate: a late packet would keep the transmitter from sending")
	say(c.Reorder > 0 && c.Rate > 0, "reorder with rate: what overtakes would not be transmitted")
	say(c.Reorder > 0 && c.Reorder < 1 && c.ReorderGap > 1, "reorder_gap with a reorder below 100%: it counts from the last that overtook")
	say(c.CEThreshold > 0, "ce_threshold: its ecn marks what chance would lose, not what waits")
	say(c.Loss > 0 && c.Duplicate > 0, "duplicate with loss: one copy of a lost packet would pass")
	if why == nil {
		return nil
	}
	return &RefusedError{why}
}

// Translate is a config in netem's words, with a seed for its chance.
func Translate(c impair.Config, seed uint64) (Options, error) {
	if err := c.Check(); err != nil {
		return Options{}, err
	}
	if err := Refused(c); err != nil {
		return Options{}, err
	}
	o := Options{
		Limit: unlimitedQueue, Latency: c.Delay, Jitter: c.Jitter,
		Duplicate: chance(c.Duplicate), Corrupt: chance(c.Corrupt), Seed: seed,
	}
	switch {
	case c.LossBurst == 0 || c.Loss == 0 || c.Loss >= 1:
		o.Loss = chance(c.Loss)
	default:
		o.Burst = Burst{Begins: chance(c.Loss / (1 - c.Loss) / c.LossBurst), Ends: chance(1 / c.LossBurst)}
	}
	if c.Reorder > 0 {
		o.Reorder, o.Gap = chance(c.Reorder), uint32(max(c.ReorderGap, 1))
	}
	if c.Jitter > 0 {
		o.Table, o.Rate = table(c.Distribution), orderly
	}
	if c.Rate > 0 {
		o.Rate, o.Overhead = uint64(c.Rate)/8, -header
		underWay := float64(c.Rate) / 8 / fullPacket * c.Delay.Seconds()
		o.Limit = uint32(min(packets(cmp.Or(c.Queue, impair.DefaultQueue(c.Rate)))+math.Ceil(underWay), math.MaxUint32))
	}
	return o, nil
}

func packets(queue unit.Bytes) float64 { return math.Ceil(float64(queue) / fullPacket) }

func chance(p float64) uint32 { return uint32(math.Round(p * math.MaxUint32)) }

// table is a distribution as netem looks it up.
func table(d impair.Distribution) []int16 {
	t := make([]int16, tableSize)
	for i := range t {
		x := math.Round(d.Quantile((float64(i)+0.5)/tableSize) * tableScale)
		t[i] = int16(min(max(x, math.MinInt16), math.MaxInt16))
	}
	return t
}

// Of linux/pkt_sched.h.
const (
	tcaCorr      = 1
	tcaDist      = 2
	tcaReorder   = 3
	tcaCorrupt   = 4
	tcaLoss      = 5
	tcaRate      = 6
	tcaRate64    = 8
	tcaLatency64 = 10
	tcaJitter64  = 11
	tcaSeed      = 14 // Linux 6.7; ignored before
	lossGE       = 2
)

// attribute is the options as the kernel takes them: struct tc_netem_qopt, whose
// times others replace, and what came later.
func (o Options) attribute() *nl.RtAttr {
	a := nl.NewRtAttr(nl.TCA_OPTIONS, words(0, o.Limit, o.Loss, o.Gap, o.Duplicate, 0))
	a.AddRtAttr(tcaCorr, words(0, 0, 0))
	a.AddRtAttr(tcaReorder, words(o.Reorder, 0))
	a.AddRtAttr(tcaCorrupt, words(o.Corrupt, 0))
	if o.Burst != (Burst{}) {
		// All is lost in the bad state, nothing in the good one.
		a.AddRtAttr(tcaLoss, nil).AddRtAttr(lossGE, words(o.Burst.Begins, o.Burst.Ends, 0, 0))
	}
	a.AddRtAttr(tcaRate, words(uint32(min(o.Rate, math.MaxUint32)), uint32(o.Overhead), 0, 0))
	if o.Rate > math.MaxUint32 {
		a.AddRtAttr(tcaRate64, binary.NativeEndian.AppendUint64(nil, o.Rate))
	}
	a.AddRtAttr(tcaLatency64, binary.NativeEndian.AppendUint64(nil, uint64(o.Latency)))
	a.AddRtAttr(tcaJitter64, binary.NativeEndian.AppendUint64(nil, uint64(o.Jitter)))
	a.AddRtAttr(tcaSeed, binary.NativeEndian.AppendUint64(nil, o.Seed))
	if o.Table != nil {
		var b []byte
		for _, v := range o.Table {
			b = binary.NativeEndian.AppendUint16(b, uint16(v))
		}
		a.AddRtAttr(tcaDist, b)
	}
	return a
}

func words(all ...uint32) []byte {
	var b []byte
	for _, w := range all {
		b = binary.NativeEndian.AppendUint32(b, w)
	}
	return b
}
