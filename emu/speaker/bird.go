package speaker

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/homeward-lab/homeward/dataplane/bgp"
	"github.com/homeward-lab/homeward/emu/tail"
	"github.com/homeward-lab/homeward/topologies/plan"
)

const birdProgram = "bird"

// bird is a BIRD daemon. Its configuration is a file without a name, read again on
// SIGHUP; its control socket, which nobody uses and it insists on, loses its name
// as soon as it has one: nothing of it is left on the machine.
type bird struct {
	speaker *plan.Speaker
	hold    time.Duration
	cmd     *exec.Cmd
	config  *os.File
	mu      sync.Mutex // one command at a time
	done    chan struct{}
	ended   chan struct{}
	said    *tail.Tail
	exit    error // set before ended is closed
}

func startBIRD(o *Options, s *plan.Speaker, hold time.Duration, tell func(Change)) (process, error) {
	b := &bird{speaker: s, hold: hold, done: make(chan struct{}, 1), ended: make(chan struct{}), said: tail.New(maxSaid)}
	fd, err := unix.MemfdCreate("bird.conf", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	b.config = os.NewFile(uintptr(fd), "bird.conf")
	if err := b.write(s.Origins); err != nil {
		return nil, errors.Join(err, b.config.Close())
	}
	dir, err := os.MkdirTemp("", "homeward-bird-")
	if err != nil {
		return nil, errors.Join(err, b.config.Close())
	}
	defer os.RemoveAll(dir)
	// The first of ExtraFiles is descriptor 3 there.
	b.cmd = exec.Command(birdProgram, "-f", "-c", "/proc/self/fd/3", "-s", filepath.Join(dir, "ctl"))
	b.cmd.ExtraFiles = []*os.File{b.config}
	said, err := b.cmd.StderrPipe()
	if err == nil {
		err = o.Spawn(s.Node, b.cmd)
	}
	if err != nil {
		return nil, errors.Join(err, b.config.Close())
	}
	go b.read(said, tell)
	return b, b.wait()
}

// What BIRD logs of what is of interest here.
var (
	birdDone = regexp.MustCompile(`<INFO> (Started|Reconfigured)`)
	birdUp   = regexp.MustCompile(`<TRACE> s([0-9]+): BGP session established`)
	birdDown = regexp.MustCompile(`<(?:TRACE|RMT)> s([0-9]+): (?:BGP session closed|(Error: .*|Received: .*|Socket closed|Connection lost.*|Neighbor lost))`)
)

// read takes BIRD's log apart until it ends.
func (b *bird) read(said io.Reader, tell func(Change)) {
	defer close(b.ended)
	up := map[int]bool{}
	for lines := bufio.NewScanner(said); lines.Scan(); {
		text := lines.Text()
		fmt.Fprintln(b.said, text)
		if birdDone.MatchString(text) {
			select {
			case b.done <- struct{}{}:
			default: // nobody waits for a second one
			}
		}
		if c, i, ok := b.change(text); ok && up[i] != c.Up {
			up[i] = c.Up
			tell(c)
		}
	}
	b.exit = b.cmd.Wait()
}

// change reads a line about a session, and which that is.
func (b *bird) change(text string) (c Change, i int, ok bool) {
	m := birdUp.FindStringSubmatch(text)
	if c.Up = m != nil; m == nil {
		if m = birdDown.FindStringSubmatch(text); m == nil {
			return c, 0, false
		}
		c.Reason = m[2]
	}
	i, err := strconv.Atoi(m[1])
	if err != nil || i >= len(b.speaker.Sessions) {
		return c, 0, false
	}
	c.Node, c.Neighbor = b.speaker.Node, b.speaker.Sessions[i].Node
	return c, i, true
}

// wait is for the end of a start.
func (b *bird) wait() error {
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case <-b.done:
		return nil
	case <-b.ended:
		return b.failed(errors.Join(errors.New("it has ended"), b.exit))
	case <-late.C:
		return b.failed(fmt.Errorf("no sign after %v", patience))
	}
}

func (b *bird) write(origins []bgp.Origin) error {
	text := birdConfig(b.speaker, origins, b.hold)
	err := b.config.Truncate(0)
	if err == nil {
		_, err = b.config.WriteAt([]byte(text), 0)
	}
	if err != nil {
		return fmt.Errorf("write configuration: %w", err)
	}
	return nil
}

func (b *bird) announce(origins []bgp.Origin) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.write(origins); err != nil {
		return err
	}
	// What a reconfiguration brings BIRD 2.0 to say it may keep until something wakes
	// it: the second one does.
	return errors.Join(b.reconfigure(), b.reconfigure())
}

// reconfigure has BIRD read its configuration, and waits until it has.
func (b *bird) reconfigure() error {
	select {
	case <-b.done: // of a signal that was given twice
	default:
	}
	again := time.NewTicker(birdAgain)
	defer again.Stop()
	late := time.NewTimer(patience)
	defer late.Stop()
	for {
		if err := b.cmd.Process.Signal(unix.SIGHUP); err != nil {
			return b.failed(err)
		}
		select {
		case <-b.done:
			return nil
		case <-b.ended:
			return b.failed(b.exit)
		case <-again.C:
		case <-late.C:
			return b.failed(fmt.Errorf("no sign after %v", patience))
		}
	}
}

// birdAgain is when BIRD is told again to read its configuration: it forgets a
// signal that comes while it is still busy with the one before.
const birdAgain = 50 * time.Millisecond

// failed is a failure with what BIRD said last.
func (b *bird) failed(err error) error {
	return fmt.Errorf("%s: %w; it said: %s", birdProgram, err, strings.TrimSpace(b.said.String()))
}

func (b *bird) over() <-chan struct{} { return b.ended }

func (b *bird) pid() int { return b.cmd.Process.Pid }

func (b *bird) stop() error {
	_ = b.cmd.Process.Signal(unix.SIGTERM) // an error says that it has ended
	defer b.config.Close()
	select {
	case <-b.ended:
		return b.exit
	case <-time.After(patience):
		_ = b.cmd.Process.Kill()
		return fmt.Errorf("%s did not end within %v", birdProgram, patience)
	}
}

// birdConfig says to BIRD what policies says to GoBGP.
func birdConfig(s *plan.Speaker, origins []bgp.Origin, hold time.Duration) string {
	var w strings.Builder
	fmt.Fprintf(&w, "log stderr all;\nrouter id %v;\nprotocol device { scan time 1; }\n", s.ID)
	for _, f := range birdFamilies(s) {
		fmt.Fprintf(&w, "protocol kernel { %s { import none; export where source = RTS_BGP; }; }\nprotocol static { %s;\n", f, f)
		told := map[netip.Prefix]bool{}
		for _, o := range origins {
			if !told[o.Prefix] && f == birdFamily(o.Prefix) {
				fmt.Fprintf(&w, "\troute %v blackhole;\n", o.Prefix)
				told[o.Prefix] = true
			}
		}
		w.WriteString("}\n")
	}
	seconds := int(hold / time.Second)
	for i := range s.Sessions {
		n := &s.Sessions[i]
		fmt.Fprintf(&w, "protocol bgp s%d {\n\tdebug { states, events };\n\tlocal %v as %d;\n\tneighbor %v as %d;\n\tinterface \"%s\";\n", i, n.Local, s.ASN, n.Remote, n.ASN, n.Interface)
		fmt.Fprintf(&w, "\thold time %d; keepalive time %d; connect retry time 1; connect delay time 1; error wait time 1, 1; error forget time 1;\n", seconds, max(seconds/3, 1))
		w.WriteString("\tgraceful restart off; med metric on; prefer older off; strict bind on;\n")
		if !n.Dials() {
			w.WriteString("\tpassive on;\n")
		}
		for _, f := range birdFamilies(s) {
			birdChannel(&w, s, i, origins, f)
		}
		w.WriteString("}\n")
	}
	return w.String()
}

// BIRD's names of the families.
const (
	birdFour = "ipv4"
	birdSix  = "ipv6"
)

func birdFamily(p netip.Prefix) string {
	if p.Addr().Is6() {
		return birdSix
	}
	return birdFour
}

// birdFamilies are those that a speaker's sessions carry.
func birdFamilies(s *plan.Speaker) []string {
	if slices.ContainsFunc(s.Sessions, func(n plan.Session) bool { return n.Local6.IsValid() }) {
		return []string{birdFour, birdSix}
	}
	return []string{birdFour}
}

// birdChannel is what a session carries of a family: what its neighbour's paths are
// worth, and what that is told.
func birdChannel(w *strings.Builder, s *plan.Speaker, session int, origins []bgp.Origin, family string) {
	n := &s.Sessions[session]
	fmt.Fprintf(w, "\t%s {\n", family)
	if family == birdSix {
		fmt.Fprintf(w, "\t\tnext hop address %v;\n", n.Local6)
	}
	fmt.Fprintf(w, "\t\timport filter {\n\t\t\tbgp_med = %d;\n\t\t\tif %s ~ bgp_community then bgp_local_pref = %d; else bgp_local_pref = %d;\n\t\t\taccept;\n\t\t};\n",
		n.Cost, pair(uint32(bgp.GracefulShutdown)), n.Relation.Preference(true), n.Relation.Preference(false))
	w.WriteString("\t\texport filter {\n\t\t\tif source = RTS_STATIC then {\n")
	for k := range origins {
		o := &origins[k]
		if !o.Tells(session) || birdFamily(o.Prefix) != family {
			continue
		}
		fmt.Fprintf(w, "\t\t\t\tif net = %v then {", o.Prefix)
		for range o.Prepend {
			fmt.Fprintf(w, " bgp_path.prepend(%d);", s.ASN)
		}
		for _, c := range o.Communities {
			fmt.Fprintf(w, " bgp_community.add(%s);", pair(uint32(c)))
		}
		w.WriteString(" accept; }\n")
	}
	fmt.Fprintf(w, "\t\t\t\treject;\n\t\t\t}\n\t\t\tif source != RTS_BGP then reject;\n\t\t\tif %s ~ bgp_community || %s ~ bgp_community then reject;\n", pair(uint32(bgp.NoExport)), pair(uint32(bgp.NoAdvertise)))
	for _, from := range []bgp.Relation{bgp.Customer, bgp.Peer, bgp.Provider} {
		if bgp.Exports(from, n.Relation) {
			fmt.Fprintf(w, "\t\t\tif bgp_local_pref = %d || bgp_local_pref = %d then accept;\n", from.Preference(false), from.Preference(true))
		}
	}
	w.WriteString("\t\t\treject;\n\t\t};\n\t};\n")
}

// pair is a community as BIRD writes it.
func pair(c uint32) string { return fmt.Sprintf("(%d,%d)", c>>16, c&0xffff) }
