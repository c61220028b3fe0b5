package pump_test

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/homeward-lab/homeward/dataplane/impair"
	"github.com/homeward-lab/homeward/dataplane/unit"
	"github.com/homeward-lab/homeward/dataplane/vt"
	"github.com/homeward-lab/homeward/emu/pump"
	"github.com/homeward-lab/homeward/topologies/spec"
)

const ms = unit.Duration(time.Millisecond)

func fixed(d unit.Duration) spec.Impairment { return spec.Impairment{Delay: spec.Delay{Fixed: d}} }

var answer = regexp.MustCompile(`time=([\d.]+) ms`)

// rtts are the times of ping's answers in order of size.
func rtts(t *testing.T, out string) []time.Duration {
	t.Helper()
	var all []time.Duration
	for _, m := range answer.FindAllStringSubmatch(out, -1) {
		f, err := strconv.ParseFloat(m[1], 64)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, time.Duration(f*1e6))
	}
	slices.Sort(all)
	if len(all) == 0 {
		t.Fatalf("no answers in\n%s", out)
	}
	return all
}

// counts are what pump and meter say of one direction.
func (l lab) counts(t testing.TB, d impair.Direction) (pump.Count, pump.Spread) {
	t.Helper()
	time.Sleep(20 * time.Millisecond) // the meter reads its rings now and then
	all, err := l.pump.Counts()
	if err != nil || len(all) != 2 {
		t.Fatalf("%d counts, %v", len(all), err)
	}
	return all[d], l.meter.Measured()[d].Times
}

// brief is a count for people: of its moments only how many there are.
func brief(c pump.Count) string {
	n := len(c.Moments.Moments)
	c.Moments.Moments = nil
	return fmt.Sprintf("%+v, %d moments", c, n)
}

// near fails unless the machine managed to be as precise as a wire has to be on
// half of the packets.
func near(t *testing.T, what string, got, want time.Duration) {
	t.Helper()
	if got < want-want/500 || got > want+want/10+500*time.Microsecond {
		t.Errorf("%s is %v, want %v", what, got, want)
	}
}

// A ping over 20 ms each way takes 40 ms: none less, half of them little more.
// The meter, which sees each way alone, says 20 ms.
func TestLiveDelay(t *testing.T) {
	l := up(t, twoHosts(fixed(20*ms)))
	all := rtts(t, l.run(t, "left", "ping", "-n", "-c", "50", "-i", "0.02", right))
	if all[0] < 40*time.Millisecond {
		t.Errorf("a ping took %v, want no less than 40ms", all[0])
	}
	near(t, "the median ping", all[len(all)/2], 40*time.Millisecond)
	for _, d := range []impair.Direction{impair.AB, impair.BA} {
		c, measured := l.counts(t, d)
		near(t, "the median of "+d.String(), measured.P50, 20*time.Millisecond)
		near(t, "the asked median of "+d.String(), c.Asked.P50, 20*time.Millisecond)
		if measured.N != 50 || c.Sent != 50 || c.Unasked() != 0 {
			t.Errorf("%s: %d measured, %s, want 50", d, measured.N, brief(c))
		}
	}
}

// The directions of a link are apart, and a change meets what comes after it.
func TestLiveSet(t *testing.T) {
	p := twoHosts(fixed(5 * ms))
	p.Links[0].BA = spec.Impairment{}
	l := up(t, p)
	median := func() time.Duration {
		all := rtts(t, l.run(t, "left", "ping", "-n", "-c", "20", "-i", "0.01", right))
		return all[len(all)/2]
	}
	near(t, "5 ms one way and nothing back", median(), 5*time.Millisecond)
	if err := l.pump.Set(linkID, impair.BA, impair.Config{Delay: 10 * time.Millisecond}); err != nil {
		t.Fatal(err)
	}
	near(t, "with 10 ms back", median(), 15*time.Millisecond)
	// What is under way when the delay goes stays under way.
	if err := l.pump.Set(linkID, impair.AB, impair.Config{Delay: 300 * time.Millisecond}); err != nil {
		t.Fatal(err)
	}
	s := l.listen(t)
	s.send(t, 1, 0)
	time.Sleep(20 * time.Millisecond)
	began := time.Now()
	if err := l.pump.Set(linkID, impair.AB, impair.Config{}); err != nil {
		t.Fatal(err)
	}
	s.send(t, 1, 0)
	if got := s.receive(t); !slices.Equal(got, []uint32{0, 1}) || time.Since(began) < 200*time.Millisecond {
		t.Errorf("received %v after %v, want both in order, and not before the first one's 300 ms", got, time.Since(began))
	}
	for _, bad := range []struct {
		link string
		c    impair.Config
	}{{linkID, impair.Config{Loss: 2}}, {"elsewhere", impair.Config{}}} {
		if err := l.pump.Set(bad.link, impair.AB, bad.c); err == nil {
			t.Errorf("Set(%s, %+v) gave no error", bad.link, bad.c)
		}
	}
}

// What happens to which packet is the model's, by number: packets that the seed
// loses and doubles, at any speed. Of a damaged one the kernel sees the checksum.
func TestLivePattern(t *testing.T) {
	im := spec.Impairment{Delay: spec.Delay{Fixed: 2 * ms}, Loss: 0.1, LossBurst: 3, Duplicate: 0.1, Corrupt: 0.05}
	p := twoHosts(im)
	const n = 500
	model, err := impair.New(p.Links[0].Impair(impair.AB), impair.NewStream(p.Seed, linkID, impair.AB), 0)
	if err != nil {
		t.Fatal(err)
	}
	var want []uint32
	for i := range uint32(n) {
		f := model.Send(vt.Instant(i), datagram+28)
		if f.End != impair.Passed || f.Flip >= 0 {
			continue
		}
		want = append(want, i)
		if f.Twice {
			want = append(want, i)
		}
	}
	for _, gap := range []time.Duration{0, 200 * time.Microsecond} {
		t.Run(gap.String(), func(t *testing.T) {
			l := up(t, p)
			s := l.listen(t)
			s.send(t, n, gap)
			if got := s.receive(t); !slices.Equal(got, want) {
				t.Errorf("got\n%v\nwant\n%v", got, want)
			}
			c, _ := l.counts(t, impair.AB)
			if c.Model != model.Counters() || c.Unasked() != 0 {
				t.Errorf("counted %s, want %+v", brief(c), model.Counters())
			}
		})
	}
}

// Packets that overtake come before those that wait, and all others in order.
func TestLiveReorder(t *testing.T) {
	p := twoHosts(spec.Impairment{Delay: spec.Delay{Fixed: 10 * ms}, Reorder: 0.5, ReorderGap: 5})
	l := up(t, p)
	s := l.listen(t)
	const n = 300
	s.send(t, n, 100*time.Microsecond)
	got := s.receive(t)
	if len(got) != n {
		t.Fatalf("%d of %d packets", len(got), n)
	}
	model, err := impair.New(p.Links[0].Impair(impair.AB), impair.NewStream(p.Seed, linkID, impair.AB), 0)
	if err != nil {
		t.Fatal(err)
	}
	var early, ordered []uint32
	overtook := map[uint32]bool{}
	for i := range uint32(n) {
		if overtook[i] = model.Send(0, datagram+28).Overtook; overtook[i] {
			early = append(early, i)
		}
	}
	jumped := 0
	for at, i := range got {
		if !overtook[i] {
			ordered = append(ordered, i)
		} else if at < int(i) {
			jumped++
		}
	}
	if !slices.IsSorted(ordered) {
		t.Errorf("packets that do not overtake are out of order: %v", ordered)
	}
	if len(early) == 0 || jumped < len(early)*9/10 {
		t.Errorf("%d of %d that overtake came before an earlier one", jumped, len(early))
	}
}

// A rate is the rate: TCP gets what headers leave of it, and no more.
func TestLiveRate(t *testing.T) {
	l := up(t, twoHosts(spec.Impairment{Rate: 50 * unit.Mbit, Delay: spec.Delay{Fixed: ms}}))
	l.serve(t, "right", "iperf3", "-s", "-1", "-p", "5201", "-B", right)
	var out struct {
		End struct {
			Received struct {
				Rate float64 `json:"bits_per_second"`
			} `json:"sum_received"`
		} `json:"end"`
	}
	text := l.run(t, "left", "iperf3", "-c", right, "-t", "3", "-O", "1", "-J", "--connect-timeout", "3000")
	if err := json.Unmarshal([]byte(text), &out); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	// 1448 of 1500 bytes are TCP's payload.
	got := out.End.Received.Rate / 1e6
	if got < 45 || got > 50*1448.0/1500*1.01 {
		t.Errorf("iperf3 reads %.1f Mbit/s over 50, want 45 to 48.8", got)
	}
	c, _ := l.counts(t, impair.AB)
	if c.Unasked() != 0 {
		t.Errorf("%s: lost what nobody asked for", brief(c))
	}
	t.Logf("iperf3 %.2f Mbit/s; %s", got, brief(c))
}
