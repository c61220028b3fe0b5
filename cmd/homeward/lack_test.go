//go:build linux

package main

import (
	"errors"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/homeward-lab/homeward/internal/need"
)

// inShell runs a script in a mount namespace of its own, in which "homeward" is
// this test binary, in an empty folder.
func inShell(t *testing.T, script string) (said string, exitCode int) {
	t.Helper()
	cmd := homewardShell(`homeward() { "$prog" "$@"; }; prog=$0; ` + script)
	cmd.Args = append([]string{"unshare", "-m"}, cmd.Args...)
	path, err := exec.LookPath("unshare")
	if err != nil {
		t.Fatal(err) // util-linux is essential
	}
	cmd.Path, cmd.Dir = path, t.TempDir()
	out, err := cmd.CombinedOutput()
	var exited *exec.ExitError
	if err != nil && !errors.As(err, &exited) {
		t.Fatal(err)
	}
	return string(out), code(err)
}

// cni is a scenario with an uplink and the network that it names.
const cni = `export NETCONFPATH=$PWD/cni HOMEWARD_RUNTIME_DIR=$PWD/rt; mkdir cni
cat >cni/outside.conflist <<EOF
{"cniVersion": "1.0.0", "name": "outside", "plugins": [{"type": "bridge", "bridge": "out0", "isGateway": true,
 "ipam": {"type": "host-local", "dataDir": "$PWD/leases", "subnet": "10.99.0.0/24"}}]}
EOF
cat >out.yaml <<EOF
version: 1
name: out
datacenters: [{id: lhr, egress: [198.51.100.0/30]}]
sites: [{id: shop, lan: 10.0.1.0/24, hosts: {till: 10.0.1.5}, onramps: [{id: wan, type: gre, arr: true}]}]
internet: [{id: web, address: 203.0.113.9, serve: [http]}]
uplink: [{host: web, network: outside}]
traffic: [{id: one, from: shop.1.till, to: web, tcp: 80}]
checks: [{id: ok, expect: "one.ok == 1"}]
EOF
`

// A lab with an uplink runs, and nothing of it stays, after SIGKILL from the next
// start on. The outside is a namespace of the test's own.
func TestLabUplink(t *testing.T) {
	need.Root(t)
	if _, err := os.Stat("/usr/lib/cni/bridge"); err != nil {
		need.Proven(t, "tools", err)
	}
	const script = cni + `export CNI_PATH=/usr/lib/cni
homeward run out.yaml --out first && ls leases/outside/10.* rt/uplinks 2>/dev/null && exit 1
grep -q '"uplink":' first/out/base/emu-*/run.json || exit 1
HOMEWARD_TEST_MAIN=1 "$prog" run out.yaml --keep --variant base --out killed >/dev/null 2>&1 & pid=$!
for i in $(seq 200); do ls leases/outside/10.* >/dev/null 2>&1 && break; sleep 0.1; done
kill -9 $pid; wait $pid
ls leases/outside/10.* rt/uplinks/*.json || exit 1
homeward run overlapping_branches --variant base --out next && ls leases/outside/10.* rt/uplinks 2>/dev/null && exit 1
ip -o link show out0 || exit 1
echo all taken back`
	before := machine(t)
	said, exitCode := inShell(t, "exec unshare -n sh -c '"+strings.ReplaceAll(`homeward() { "$prog" "$@"; }; prog=$0; `+script, "'", `'\''`)+`' "$prog"`)
	if exitCode != exitOK || !strings.Contains(said, "all taken back") {
		t.Errorf("exit code %d:\n%s", exitCode, said)
	}
	clean(t, before)
}

// What a machine lacks ends in an exit code and a sentence that names it, and in
// a clean machine.
func TestLabLacks(t *testing.T) {
	need.Root(t)
	for _, tt := range []struct {
		name, script string
		code         int
		says         string
	}{
		{
			// Tunnels are veth pairs: nothing of a lab needs it.
			"no /dev/net/tun", `mount -t tmpfs none /dev/net && test ! -e /dev/net/tun && homeward run overlapping_branches --variant base --out out`,
			exitOK, "overlapping_branches/base",
		},
		{
			"no room for any result", `mkdir full && mount -t tmpfs -o size=4k none full && homeward run overlapping_branches --variant base --out full/out`,
			exitError, "no space left on device",
		},
		{
			"room for a part of the results", `mkdir full && mount -t tmpfs -o size=48k none full && homeward run overlapping_branches --variant base --out full/out`,
			exitError, "no space left on device",
		},
		{
			"a disk that cannot be written", `mkdir full && mount -t tmpfs -o ro none full && homeward run overlapping_branches --variant base --out full/out`,
			exitUsage, "read-only file system",
		},
		{
			"no room for the lab's socket", `mkdir -m 700 rt && mount -t tmpfs -o size=4k,mode=0700,nr_inodes=1 none rt && HOMEWARD_RUNTIME_DIR=$PWD/rt homeward up overlapping_branches`,
			exitError, "no space left on device",
		},
		{
			"few open files", `ulimit -n 64; homeward run overlapping_branches --variant base --out out`,
			exitLack, "open files, the limit is 64: raise it to",
		},
		{
			"few open files for a lab by hand", `mkdir -m 700 rt; ulimit -n 64; HOMEWARD_RUNTIME_DIR=$PWD/rt homeward up overlapping_branches`,
			exitLack, "open files, the limit is 64: raise it to",
		},
		{
			"an uplink without its plugins", cni + `CNI_PATH=/none homeward run out.yaml --out out`,
			exitLack, `uplink of web to outside: CNI plugin "bridge" is not in /none`,
		},
		{
			"an uplink to no network", cni + `NETCONFPATH=/none homeward run out.yaml --out out`,
			exitLack, `has the name "outside"`,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := machine(t)
			said, exitCode := inShell(t, tt.script)
			if exitCode != tt.code || !strings.Contains(said, tt.says) {
				t.Errorf("exit code %d, want %d and %q in:\n%s", exitCode, tt.code, tt.says, said)
			}
			clean(t, before)
		})
	}
}

// The limit of open files that is asked for is enough, and one below is refused
// before anything is made.
func TestLabOpenFiles(t *testing.T) {
	need.Root(t)
	before := machine(t)
	const run = `homeward run overlapping_branches --variant base --out out`
	said, _ := inShell(t, "ulimit -n 64; "+run)
	found := regexp.MustCompile(`needs (\d+) open files`).FindStringSubmatch(said)
	if found == nil {
		t.Fatalf("want the number of files in:\n%s", said)
	}
	if said, exitCode := inShell(t, "ulimit -n "+found[1]+"; "+run); exitCode != exitOK {
		t.Errorf("with the %s files that were asked for: exit code %d:\n%s", found[1], exitCode, said)
	}
	if said, exitCode := inShell(t, "ulimit -n $(("+found[1]+" - 1)); "+run); exitCode != exitLack {
		t.Errorf("with one file fewer: exit code %d, want %d:\n%s", exitCode, exitLack, said)
	}
	clean(t, before)
}
