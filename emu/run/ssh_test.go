package run_test

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/homeward-lab/homeward/internal/need"
)

// A command over ssh, which is given 1 MB and gives it back. The host key must
// be the one that the server was made with.
func sshes(t, servers *testing.T, in rooms) {
	ssh, sshd, keygen := need.Tool(t, "ssh"), need.Tool(t, "sshd"), need.Tool(t, "ssh-keygen")
	dir := servers.TempDir()
	for _, name := range []string{"host", "user"} {
		out, err := exec.Command(keygen, "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", filepath.Join(dir, name)).CombinedOutput()
		if err != nil {
			t.Fatalf("ssh-keygen: %v\n%s", err, out)
		}
	}
	known := append([]byte(origin+" "), read(t, filepath.Join(dir, "host.pub"))...)
	write(t, filepath.Join(dir, "known_hosts"), known)
	in.serve(servers, sshServer(t, sshd, dir), socket{"tcp", 22})

	payload := make([]byte, 1e6)
	rand.Read(payload)
	for _, a := range in.atOnce(t, 20*time.Second, func(int) *exec.Cmd {
		c := exec.Command(ssh, "-F", "none", "-i", filepath.Join(dir, "user"), "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes",
			"-o", "StrictHostKeyChecking=yes", "-o", "UserKnownHostsFile="+filepath.Join(dir, "known_hosts"), "-o", "ConnectTimeout=5",
			"root@"+origin, "echo $SSH_CONNECTION >&2; cat")
		c.Stdin = bytes.NewReader(payload)
		return c
	}) {
		if !a.wantEnd(t) {
			continue
		}
		if a.out != string(payload) {
			t.Errorf("site %d: %d bytes came back, not the %d that were sent", a.site, len(a.out), len(payload))
		}
		from, _, _ := strings.Cut(strings.TrimSpace(a.stderr), " ")
		if e, err := netip.ParseAddr(from); err != nil || !pool.Contains(e) {
			t.Errorf("site %d: sshd saw %q, want an address of %s", a.site, a.stderr, pool)
		}
	}
}

// sshServer is sshd with a world of its own: it insists on an account for
// itself, an empty directory below /run, and an unlocked account to log in to.
// A private mount namespace gives it those without touching the machine's.
func sshServer(t *testing.T, sshd, dir string) *exec.Cmd {
	t.Helper()
	write(t, filepath.Join(dir, "passwd"), []byte("root:*:0:0::/:/bin/sh\nsshd:*:65534:65534::/run/sshd:/bin/false\n"))
	write(t, filepath.Join(dir, "shadow"), []byte("root:*:19000:0:99999:7:::\nsshd:*:19000:0:99999:7:::\n"))
	write(t, filepath.Join(dir, "config"), fmt.Appendf(nil, `ListenAddress %s
HostKey %s/host
AuthorizedKeysFile %s/user.pub
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
StrictModes no
UsePAM no
UseDNS no
PidFile none
`, origin, dir, dir))
	const script = `mount -t tmpfs tmpfs /run && mkdir -m 755 /run/sshd &&
mount --bind "$1/passwd" /etc/passwd && mount --bind "$1/shadow" /etc/shadow && exec "$2" -D -e -f "$1/config"`
	cmd := exec.Command("/bin/sh", "-c", script, "sh", dir, sshd)
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS} // the runtime makes its mounts private
	return cmd
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func write(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
}
