package speaker

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
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

// bird is a BIRD daemon. Neither its configuration nor its control socket has a
// name on the machine.
type bird struct {
	speaker *plan.Speaker
	hold    time.Duration
	cmd     *exec.Cmd
	config  *os.File
	mu      sync.Mutex // one command at a time
	control *birdControl
	started chan struct{}
	ended   chan struct{}
	said    *tail.Tail
	exit    error // set before ended is closed
}

func startBIRD(o *Options, s *plan.Speaker, hold time.Duration, tell func(Change)) (process, error) {
	b := &bird{speaker: s, hold: hold, started: make(chan struct{}, 1), ended: make(chan struct{}), said: tail.New(maxSaid)}
	fd, err := unix.MemfdCreate("bird.conf", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	b.config = os.NewFile(uintptr(fd), "bird.conf")
	if err := b.write(s.Origins); err != nil {
		return nil, errors.Join(err, b.config.Close())
	}
	root, err := nowhere()
	if err != nil {
		return nil, errors.Join(err, b.config.Close())
	}
	defer root.Close()
	// The first of ExtraFiles is descriptor 3 there.
	b.cmd = exec.Command(birdProgram, "-f", "-c", "/proc/self/fd/3", "-s", "/proc/self/fd/4/"+birdSocket)
	b.cmd.ExtraFiles = []*os.File{b.config, root}
	said, err := b.cmd.StderrPipe()
	if err == nil {
		err = o.Spawn(s.Node, b.cmd)
	}
	if err != nil {
		return nil, errors.Join(err, b.config.Close())
	}
	go b.read(said, tell)
	if err := b.wait(); err != nil {
		return b, err
	}
	if b.control, err = dialBIRD(root); err != nil {
		return b, b.failed(fmt.Errorf("control socket: %w", err))
	}
	return b, nil
}

// What BIRD logs of what is of interest here.
var (
	birdStarted = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`<INFO> Started`) })
	birdUp      = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`<TRACE> s([0-9]+): BGP session established`) })
	birdDown    = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`<(?:TRACE|RMT)> s([0-9]+): (?:BGP session closed|(Error: .*|Received: .*|Socket closed|Connection lost.*|Neighbor lost))`)
	})
)

// read takes BIRD's log apart until it ends.
func (b *bird) read(said io.Reader, tell func(Change)) {
	defer close(b.ended)
	up := map[int]bool{}
	for lines := bufio.NewScanner(said); lines.Scan(); {
		text := lines.Text()
		fmt.Fprintln(b.said, text)
		if birdStarted().MatchString(text) {
			b.started <- struct{}{}
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
	m := birdUp().FindStringSubmatch(text)
	if c.Up = m != nil; m == nil {
		if m = birdDown().FindStringSubmatch(text); m == nil {
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
	case <-b.started:
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
	if err := b.control.reconfigure(); err != nil {
		return b.failed(err)
	}
	return nil
}

// failed is a failure with what BIRD said last.
func (b *bird) failed(err error) error {
	return fmt.Errorf("%s: %w; it said: %s", birdProgram, err, strings.TrimSpace(b.said.String()))
}

func (b *bird) over() <-chan struct{} { return b.ended }

func (b *bird) pid() int { return b.cmd.Process.Pid }

func (b *bird) stop() error {
	_ = b.cmd.Process.Signal(unix.SIGTERM) // an error says that it has ended
	defer b.config.Close()
	if b.control != nil {
		defer b.control.conn.Close()
	}
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
