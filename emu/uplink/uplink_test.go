package uplink_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/homeward-lab/homeward/emu/netns"
	"github.com/homeward-lab/homeward/emu/uplink"
	"github.com/homeward-lab/homeward/internal/need"
	"github.com/homeward-lab/homeward/topologies/plan"
)

const connectWord = "connect-and-wait"

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == connectWord {
		fmt.Println(connectAndWait(os.Args[2]))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// debian is where Debian's package has its plugins.
const debian = "/usr/lib/cni"

// networks are chains of Debian's plugins; %s is where leases go.
var networks = map[string]string{
	"bridged": `{"cniVersion": "1.0.0", "name": "bridged", "plugins": [
		{"type": "bridge", "bridge": "out0", "isGateway": true, "ipam": {"type": "host-local", "dataDir": "%s", "subnet": "10.99.0.0/24"}},
		{"type": "tuning", "sysctl": {"net.ipv4.conf.IFNAME.rp_filter": "0"}}]}`,
	"point": `{"cniVersion": "0.4.0", "name": "point", "plugins": [
		{"type": "ptp", "ipam": {"type": "host-local", "dataDir": "%s", "subnet": "10.98.0.0/24"}}]}`,
	"absent": `{"cniVersion": "1.0.0", "name": "absent", "plugins": [{"type": "no-such-plugin"}]}`,
	"broken": `{"cniVersion": "1.0.0", "name": "broken", "plugins": [
		{"type": "bridge", "bridge": "out1", "ipam": {"type": "host-local", "dataDir": "%s", "subnet": "10.97.0.0/24"}},
		{"type": "tuning", "sysctl": {"net.ipv4.no_such_thing": "1"}}]}`,
	"stuck": `{"cniVersion": "1.0.0", "name": "stuck", "plugins": [
		{"type": "bridge", "bridge": "out2", "ipam": {"type": "host-local", "dataDir": "%s", "subnet": "10.96.0.0/24"}},
		{"type": "bandwidth", "ingressRate": -1, "ingressBurst": 1}]}`,
	"empty": `{"cniVersion": "1.0.0", "name": "empty", "plugins": []}`,
}

// places are a folder with configurations, and folders for leases and notes.
type places struct{ config, leases, state string }

func placesIn(dir string) places {
	return places{filepath.Join(dir, "config"), filepath.Join(dir, "leases"), filepath.Join(dir, "state")}
}

func (p places) options(outside *netns.NS) uplink.Options {
	return uplink.Options{Path: debian, Config: p.config, State: p.state, Outside: outside}
}

func newPlaces(t *testing.T) places {
	t.Helper()
	need.Root(t)
	if _, err := os.Stat(filepath.Join(debian, "bridge")); err != nil {
		need.Proven(t, "tools", fmt.Errorf("%w (Debian's containernetworking-plugins)", err))
	}
	p := placesIn(t.TempDir())
	if err := os.Mkdir(p.config, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range networks {
		text = strings.ReplaceAll(text, "%s", p.leases)
		if err := os.WriteFile(filepath.Join(p.config, name+".conflist"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

// remains are the leases and notes that there are.
func (p places) remains(t *testing.T) (all []string) {
	t.Helper()
	for _, pattern := range []string{p.leases + "/*/10.*", p.state + "/*"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, found...)
	}
	return all
}

func space(t *testing.T) *netns.NS {
	t.Helper()
	ns, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close() })
	return ns
}

// A host reaches the outside by its uplink while it is connected, and afterwards
// nothing is left: no interface, no lease, no note.
func TestConnect(t *testing.T) {
	for name, gateway := range map[string]string{"bridged": "10.99.0.1", "point": "10.98.0.1"} {
		t.Run(name, func(t *testing.T) {
			p := newPlaces(t)
			outside, host := space(t), space(t)
			u, err := uplink.Connect(t.Context(), plan.Uplink{Node: "web", Interface: "up0", Network: name}, host, p.options(outside))
			if err != nil {
				t.Fatal(err)
			}
			if n := len(p.remains(t)); n != 2 {
				t.Errorf("a lease and a note are wanted, there are %v", p.remains(t))
			}
			if swept, err := uplink.Sweep(t.Context(), p.options(outside)); swept != 0 || err != nil {
				t.Errorf("swept %d that are in use, %v", swept, err)
			}
			reach(t, host, outside, gateway)
			if err := u.Close(); err != nil {
				t.Error(err)
			}
			if left := p.remains(t); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
			err = host.Do(func() error {
				_, err := netns.Index("up0")
				return err
			})
			if err == nil {
				t.Error("the interface is still there")
			}
			if err := u.Close(); err != nil {
				t.Errorf("a second Close: %v", err)
			}
		})
	}
}

// reach opens a connection from the host to the outside's own address.
func reach(t *testing.T, host, outside *netns.NS, gateway string) {
	t.Helper()
	var l net.Listener
	err := outside.Do(func() (err error) {
		l, err = net.Listen("tcp4", gateway+":0")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	err = host.Do(func() error {
		c, err := net.Dial("tcp4", l.Addr().String())
		if err != nil {
			return err
		}
		return c.Close()
	})
	if err != nil {
		t.Errorf("from the host to the outside: %v", err)
	}
}

// What is missing is named, and a chain that fails half way is taken back.
func TestConnectFails(t *testing.T) {
	for _, tt := range []struct {
		network, says string
		is            error
	}{
		{"nowhere", `has the name "nowhere"`, uplink.ErrNoNetwork},
		{"absent", `CNI plugin "no-such-plugin" is not in /usr/lib/cni (apt-get install containernetworking-plugins`, exec.ErrNotFound},
		{"empty", "a network without plugins", nil},
		{"broken", "CNI plugin tuning: ADD: ", nil},
	} {
		t.Run(tt.network, func(t *testing.T) {
			p := newPlaces(t)
			_, err := uplink.Connect(t.Context(), plan.Uplink{Node: "web", Interface: "up0", Network: tt.network}, space(t), p.options(space(t)))
			if err == nil || !strings.Contains(err.Error(), tt.says) || tt.is != nil && !errors.Is(err, tt.is) {
				t.Errorf("error %v, want %q", err, tt.says)
			}
			if left := p.remains(t); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

// connectAndWait connects a host, says so and waits to be killed.
func connectAndWait(dir string) error {
	outside, err := netns.New()
	if err != nil {
		return err
	}
	host, err := netns.New()
	if err != nil {
		return err
	}
	_, err = uplink.Connect(context.Background(), plan.Uplink{Node: "web", Interface: "up0", Network: "bridged"}, host, placesIn(dir).options(outside))
	if err != nil {
		return err
	}
	fmt.Println("connected")
	select {}
}

// After SIGKILL the lease is still there, and the next start takes it back.
func TestSweep(t *testing.T) {
	p := newPlaces(t)
	cmd := exec.Command("/proc/self/exe", connectWord, filepath.Dir(p.config))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "connected\n" {
		t.Errorf("it says %q, %v", line, err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed
	if n := len(p.remains(t)); n != 2 {
		t.Fatalf("after SIGKILL: %v, want a lease and a note", p.remains(t))
	}
	swept, err := uplink.Sweep(t.Context(), p.options(space(t)))
	if swept != 1 || err != nil {
		t.Errorf("swept %d, %v; want 1", swept, err)
	}
	if left := p.remains(t); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// Where a DEL fails, the note stays, and every start says so.
func TestSweepFails(t *testing.T) {
	p := newPlaces(t)
	_, err := uplink.Connect(t.Context(), plan.Uplink{Node: "web", Interface: "up0", Network: "stuck"}, space(t), p.options(space(t)))
	if err == nil || !strings.Contains(err.Error(), "bandwidth: DEL: ") {
		t.Errorf("error %v, want one of bandwidth's DEL", err)
	}
	swept, err := uplink.Sweep(t.Context(), p.options(space(t)))
	if notes := p.remains(t); swept != 0 || err == nil || len(notes) != 1 || !strings.Contains(err.Error(), notes[0]) {
		t.Errorf("swept %d, %v; want an error that names the note %v", swept, err, notes)
	}
}
