package run_test

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/homeward-lab/homeward/emu/run"
	"github.com/homeward-lab/homeward/internal/need"
	"github.com/homeward-lab/homeward/reports/record"
	"github.com/homeward-lab/homeward/topologies/plan"
)

const justPing = "traffic: [{id: ping, from: shop.*.till, to: web, icmp: 7}]"

// Programs that nobody here wrote, from overlapping sites at the same moment:
// each gets its own answers. tshark then reads the capture of all of it.
func TestLiveTools(t *testing.T) {
	file := filepath.Join(t.TempDir(), "capture.pcapng")
	w := worlds()[0]
	p := w.plan(t, justPing)
	second := netip.MustParseAddr("203.0.113.10")
	spoken := []string{"gre", "icmp"}
	alias(p, "web", second)
	r := live(t, p, run.Options{Capture: file, Keep: func(_ context.Context, doors []run.Door) {
		in := roomsOf(doors)
		servers := t // a server lives until the lab goes
		t.Run("ping", func(t *testing.T) { pings(t, in, w) })
		t.Run("curl", func(t *testing.T) { curls(t, in, w); spoken = append(spoken, "http") })
		t.Run("dig", func(t *testing.T) { digs(t, servers, in); spoken = append(spoken, "dns") })
		t.Run("ssh", func(t *testing.T) { sshes(t, servers, in); spoken = append(spoken, "ssh") })
		t.Run("stun", func(t *testing.T) { stuns(t, servers, in, second); spoken = append(spoken, "stun") })
		t.Run("traceroute", func(t *testing.T) { traceroutes(t, in, p, w) })
	}})
	wantAll(t, r, record.OK)
	t.Run("tshark", func(t *testing.T) { wantSound(t, file, spoken...) })
}

// The same programs over IPv6, of those that are not about translation.
func TestLiveTools6(t *testing.T) {
	file := filepath.Join(t.TempDir(), "capture.pcapng")
	w := worlds()[1]
	p := w.plan(t, justPing)
	spoken := []string{"gre", "icmpv6"}
	r := live(t, p, run.Options{Capture: file, Keep: func(_ context.Context, doors []run.Door) {
		in := roomsOf(doors)
		t.Run("ping", func(t *testing.T) { pings(t, in, w) })
		t.Run("curl", func(t *testing.T) { curls(t, in, w); spoken = append(spoken, "http") })
		t.Run("traceroute", func(t *testing.T) { traceroutes(t, in, p, w) })
	}})
	wantAll(t, r, record.OK)
	t.Run("tshark", func(t *testing.T) {
		wantSound(t, file, spoken...)
		// Types of multicast listeners and of neighbours (RFC 2710, 3810, 4861).
		chatter, err := exec.Command(need.Tool(t, "tshark"), "-n", "-r", file, "-Y", "icmpv6.type >= 130 && icmpv6.type <= 143").Output()
		if err != nil || len(chatter) > 0 {
			t.Errorf("%v: the lab's own chatter is in the capture:\n%s", err, chatter)
		}
	})
}

// iperf3 from overlapping sites at the same moment, up and down: so many bytes
// over TCP as fast as it goes, and UDP at a fixed rate.
func TestLiveIperf3(t *testing.T) {
	iperf3, file := need.Tool(t, "iperf3"), filepath.Join(t.TempDir(), "capture.pcapng")
	p := compile(t, fmt.Sprintf(lab, true, justPing))
	r := live(t, p, run.Options{Capture: file, Keep: func(_ context.Context, doors []run.Door) { iperfs(t, iperf3, roomsOf(doors)) }})
	wantAll(t, r, record.OK)
	t.Run("tshark", func(t *testing.T) { wantSound(t, file, "gre", "icmp") })
}

// alias gives an origin a second address.
func alias(p *plan.Plan, node string, addr netip.Addr) {
	n, _ := p.Node(node)
	own := netip.PrefixFrom(n.Address, n.Address.BitLen())
	other := netip.PrefixFrom(addr, addr.BitLen())
	n.Loopback = append(n.Loopback, other)
	for i := range p.Nodes {
		routes := p.Nodes[i].Routes
		for _, r := range routes {
			if r.To != own {
				continue
			}
			r.To, r.Hops = other, slices.Clone(r.Hops)
			for j := range r.Hops {
				if !r.Hops[j].Via.IsValid() {
					r.Hops[j].Via = n.Address
				}
			}
			p.Nodes[i].Routes = append(p.Nodes[i].Routes, r)
		}
	}
}

// A ping with one id from all tills: all answered, none twice, and the TTL of
// what came back went down as at that many routers.
func pings(t *testing.T, in rooms, w world) {
	ping := need.Tool(t, "ping")
	const count, initial = 5, 64
	ttls := regexp.MustCompile(`icmp_seq=(\d+) ttl=(\d+)`)
	for _, a := range in.atOnce(t, 10*time.Second, func(int) *exec.Cmd {
		return exec.Command(ping, "-n", "-e", "7", "-c", strconv.Itoa(count), "-i", "0.1", "-W", "2", w.origin)
	}) {
		if !a.wantEnd(t) {
			continue
		}
		found := ttls.FindAllStringSubmatch(a.out, -1)
		if len(found) != count || strings.Contains(a.out, "DUP!") {
			t.Errorf("site %d: %d answers to %d pings:\n%s", a.site, len(found), count, a.out)
		}
		seen := map[string]int{}
		for _, f := range found {
			seen[f[2]]++
			// Transit, edge, server and branch router at the least; another
			// datacenter adds its own.
			if ttl, err := strconv.Atoi(f[2]); err != nil || ttl > initial-4 || ttl < initial-8 {
				t.Errorf("site %d: TTL %s came back, want 4 to 8 below %d", a.site, f[2], initial)
			}
		}
		t.Logf("site %d: answers by TTL: %v", a.site, seen)
	}
}

// The page for people names an egress address; a download of 5 MB of the till's
// own, all from one source port, arrives as it was sent.
func curls(t *testing.T, in rooms, w world) {
	curl := need.Tool(t, "curl")
	page := regexp.MustCompile(`come from (\S+) here`)
	egresses := map[string]bool{}
	for _, a := range in.atOnce(t, 10*time.Second, func(int) *exec.Cmd {
		return exec.Command(curl, "-sS", "--fail", "--local-port", "40010", "--max-time", "8", "http://"+w.at(80)+"/")
	}) {
		if !a.wantEnd(t) {
			continue
		}
		m := page.FindStringSubmatch(a.out)
		if m == nil {
			t.Errorf("site %d: no address in %q", a.site, a.out)
			continue
		}
		if e, err := netip.ParseAddrPort(m[1]); err != nil || !w.pool.Contains(e.Addr()) {
			t.Errorf("site %d: seen as %s, want an address of %s", a.site, m[1], w.pool)
		}
		egresses[m[1]] = true
	}
	if len(egresses) != tills {
		t.Errorf("seen as %v, want one address and port for each of %d tills", egresses, tills)
	}
	files, at := fileServer(t, in, w)
	for _, a := range in.atOnce(t, 20*time.Second, func(site int) *exec.Cmd {
		return exec.Command(curl, "-sS", "--fail", "--local-port", "40011", "--max-time", "18", "-w", "%{stderr}%{speed_download} bytes/s", fmt.Sprintf("http://%s/%d", at, site))
	}) {
		if !a.wantEnd(t) {
			continue
		}
		if got, want := sha256.Sum256([]byte(a.out)), sha256.Sum256(files[a.site]); got != want {
			t.Errorf("site %d: %d bytes with SHA-256 %x, want %d with %x", a.site, len(a.out), got, len(files[a.site]), want)
		}
		t.Logf("site %d: %s", a.site, a.stderr)
	}
}

// filePort is none that programs know for anything.
const filePort = 9001

// fileServer serves 5 MB of its own to each site, until the test ends.
func fileServer(t *testing.T, in rooms, w world) (files map[int][]byte, at string) {
	t.Helper()
	files = map[int][]byte{}
	mux := http.NewServeMux()
	for site := 1; site <= tills; site++ {
		b := make([]byte, 5e6)
		rand.Read(b)
		files[site] = b
		mux.HandleFunc(fmt.Sprintf("GET /%d", site), func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(b) })
	}
	var l net.Listener
	at = w.at(filePort)
	in.do(t, "web", func() (err error) {
		l, err = net.Listen("tcp", at)
		return err
	})
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(l) }() // ErrServerClosed
	t.Cleanup(func() { srv.Close(); <-done })
	return files, at
}

// The same question from the same port of all tills, each for a name of its
// own, over UDP and TCP.
func digs(t, servers *testing.T, in rooms) {
	dig, dnsmasq := need.Tool(t, "dig"), need.Tool(t, "dnsmasq")
	args := []string{"--no-daemon", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--user=root", "--pid-file=", "--bind-interfaces", "--listen-address=" + origin, "--port=53"}
	for site := 1; site <= tills; site++ {
		args = append(args, fmt.Sprintf("--host-record=shop%d.home.arpa,192.0.2.%d", site, site))
	}
	in.serve(servers, exec.Command(dnsmasq, args...), socket{"udp", 53}, socket{"tcp", 53})
	for _, over := range []string{"+notcp", "+tcp"} {
		for _, a := range in.atOnce(t, 10*time.Second, func(site int) *exec.Cmd {
			return exec.Command(dig, "-b", till+"#40053", "@"+origin, over, "+tries=2", "+time=3", "+short", fmt.Sprintf("shop%d.home.arpa", site), "A")
		}) {
			if want := fmt.Sprintf("192.0.2.%d\n", a.site); a.wantEnd(t) && a.out != want {
				t.Errorf("site %d, %s: dig says %q, want %q", a.site, over, a.out, want)
			}
		}
	}
}

// traceroute by ICMP, UDP and TCP reaches the origin, through a first hop that
// is the branch router and a second that is the hub, by its address in the
// site's own tunnel. What is between is shown, and not judged.
func traceroutes(t *testing.T, in rooms, p *plan.Plan, w world) {
	hubs := map[string]string{}
	for _, b := range p.Branches {
		hubs[b.Node] = b.Tunnels[0].Peer.String()
		if w.six() {
			hubs[b.Node] = b.Tunnels[0].Peer6.String()
		}
	}
	traceroute := need.Tool(t, "traceroute")
	hop := regexp.MustCompile(`(?m)^ *\d+  (\S+)`)
	for _, kind := range [][]string{{"-I"}, {"-U", "-p", "4999"}, {"-T", "-p", "80"}} {
		for _, a := range in.atOnce(t, 15*time.Second, func(int) *exec.Cmd {
			return exec.Command(traceroute, append(kind, "-n", "-m", "8", "-q", "1", "-w", "1", w.origin)...)
		}) {
			if !a.wantEnd(t) {
				continue
			}
			var hops []string
			for _, m := range hop.FindAllStringSubmatch(a.out, -1) {
				hops = append(hops, m[1])
			}
			t.Logf("site %d, %s: %s", a.site, kind[0], strings.Join(hops, " "))
			want := hubs[fmt.Sprintf("shop.%d.router", a.site)]
			if n := len(hops); n < 3 || hops[0] != w.router || hops[1] != want || hops[n-1] != w.origin {
				t.Errorf("site %d, %s: hops %v, want %s first, then the hub's %s, and %s last", a.site, kind[0], hops, w.router, want, w.origin)
			}
		}
	}
}

// What RFC 5780 calls mapping and filtering behaviour: soft-unicast gives each
// flow a port of its own, so both depend on the other end's address and port
// (SEMANTICS 8), and no two flows to one destination are seen as one.
func stuns(t, servers *testing.T, in rooms, second netip.Addr) {
	discover, server := need.Tool(t, "turnutils_natdiscovery"), need.Tool(t, "turnserver")
	in.serve(servers, exec.Command(server, "-n", "--stun-only", "-L", origin, "-L", second.String(), "-p", "3478", "--alt-listening-port", "3479",
		"--no-tls", "--no-dtls", "--no-cli", "--no-stdout-log", "--log-file", "/dev/null", "--pidfile", filepath.Join(servers.TempDir(), "pid")), socket{"udp", 3478}, socket{"udp", 3479})
	reflexive := regexp.MustCompile(`UDP reflexive addr: (\S+)`)
	to := []int{0, 1, 2, 0} // the destinations that it asks, one after the other
	seen := map[string]int{}
	dependent := 0
	for _, a := range in.atOnce(t, 20*time.Second, func(int) *exec.Cmd {
		return exec.Command(discover, "-m", "-f", "-L", till, "-l", "40020", origin)
	}) {
		if !a.wantEnd(t) {
			continue
		}
		if strings.Contains(a.out, "NAT with Address and Port Dependent Mapping!") {
			dependent++
		}
		if want := "NAT with Address and Port Dependent Filtering!"; !strings.Contains(a.out, want) {
			t.Errorf("site %d: want %q in:\n%s", a.site, want, a.out)
		}
		found := reflexive.FindAllStringSubmatch(a.out, -1)
		if len(found) != len(to) {
			t.Errorf("site %d: %d answers, want %d:\n%s", a.site, len(found), len(to), a.out)
			continue
		}
		for i, f := range found {
			seen[fmt.Sprintf("%s to destination %d", f[1], to[i])]++
		}
	}
	// Toward another destination a port may be used again, and by chance by the
	// same till: one may see its mapping so, two will not.
	if dependent < tills-1 {
		t.Errorf("%d of %d tills find the mapping dependent on address and port", dependent, tills)
	}
	for flow, n := range seen {
		if n > 1 {
			t.Errorf("%d flows are seen as %s", n, flow)
		}
	}
}

// wantSound has tshark read a capture: it must know these protocols in it, and
// call nothing malformed.
func wantSound(t *testing.T, file string, protocols ...string) {
	t.Helper()
	tshark := need.Tool(t, "tshark")
	all, err := exec.Command(tshark, "-G", "protocols").Output() // name, short name, filter name …
	if err != nil {
		t.Fatal(err)
	}
	// Random payloads look like something to one of its guesses or another: it
	// keeps what was really spoken, and is told which ports carry noise.
	args := []string{"-n", "-r", file, "-T", "fields", "-e", "frame.number", "-e", "frame.protocols", "-e", "_ws.malformed", "-d", fmt.Sprintf("tcp.port==%d,data", filePort)}
	kept := append([]string{"frame", "eth", "ethertype", "ip", "ipv6", "ipv6.fraghdr", "gre", "icmp", "tcp", "udp", "data", "_ws.malformed", "_ws.short", "data-text-lines"}, protocols...)
	for line := range strings.Lines(string(all)) {
		if f := strings.Split(strings.TrimSpace(line), "\t"); len(f) > 2 && !slices.Contains(kept, f[2]) {
			args = append(args, "--disable-protocol", f[2])
		}
	}
	out, err := exec.Command(tshark, args...).Output()
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for line := range strings.Lines(string(out)) {
		f := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if len(f) != 3 {
			t.Fatalf("tshark says %q", line)
		}
		stack := strings.Split(f[1], ":")
		for _, p := range stack {
			seen[p]++
		}
		if f[2] != "" || slices.Contains(stack, "_ws.malformed") {
			t.Errorf("tshark calls packet %s malformed (%s)", f[0], f[1])
		}
	}
	t.Logf("tshark sees %v", seen)
	for _, p := range protocols {
		if seen[p] == 0 {
			t.Errorf("tshark sees no %s in the capture", p)
		}
	}
}

// iperf is what iperf3 --json says, of what is used here.
type iperf struct {
	Error string `json:"error"`
	End   struct {
		Sent     iperfSum  `json:"sum_sent"`
		Received iperfSum  `json:"sum_received"`
		Sum      *iperfSum `json:"sum"` // of UDP
	} `json:"end"`
}

type iperfSum struct {
	Bytes       int64   `json:"bytes"`
	BitsPerS    float64 `json:"bits_per_second"`
	Retransmits int64   `json:"retransmits"`
	Packets     int64   `json:"packets"`
	Lost        int64   `json:"lost_packets"`
	JitterMs    float64 `json:"jitter_ms"`
}

// Three clients at once, each with a server of its own, since a server takes
// one client at a time.
func iperfs(t *testing.T, iperf3 string, in rooms) {
	const first, from = 5200, 40030
	for site := 1; site <= tills; site++ {
		port := first + site
		in.serve(t, exec.Command(iperf3, "-s", "-p", strconv.Itoa(port)), socket{"tcp", port})
	}
	// All sites use the same port at the same time, but none one twice: a connection outlives
	// its program until both ends have said goodbye, and for a minute if they did so at once
	// (LAST-ACK and TIME-WAIT, RFC 9293 3.6); iperf3 binds without SO_REUSEADDR.
	for i, kind := range []struct {
		name string
		args []string
	}{
		{"TCP up", []string{"-n", "16M"}},
		{"TCP down", []string{"-n", "16M", "-R"}},
		{"UDP up", []string{"-u", "-t", "1", "-b", "4M", "-l", "1200"}},
		{"UDP down", []string{"-u", "-t", "1", "-b", "4M", "-l", "1200", "-R"}},
	} {
		for _, a := range in.atOnce(t, 15*time.Second, func(site int) *exec.Cmd {
			args := []string{"-c", origin, "-p", strconv.Itoa(first + site), "-B", till, "--cport", strconv.Itoa(from + i), "--json", "--connect-timeout", "3000"}
			return exec.Command(iperf3, append(args, kind.args...)...)
		}) {
			var got iperf
			if err := json.Unmarshal([]byte(a.out), &got); err != nil {
				t.Errorf("site %d, %s: %v: %v\n%s%s", a.site, kind.name, a.err, err, a.out, a.stderr)
				continue
			}
			if got.Error != "" || a.err != nil {
				t.Errorf("site %d, %s: %v: %s", a.site, kind.name, a.err, got.Error)
				continue
			}
			sum := got.End.Received
			if got.End.Sum != nil {
				sum = *got.End.Sum
			}
			if sum.Bytes == 0 {
				t.Errorf("site %d, %s: no byte arrived", a.site, kind.name)
			}
			t.Logf("site %d, %s: %.0f Mbit/s, %d bytes, %d retransmits, %d of %d datagrams lost", a.site, kind.name, sum.BitsPerS/1e6, sum.Bytes, got.End.Sent.Retransmits, sum.Lost, sum.Packets)
		}
	}
}
