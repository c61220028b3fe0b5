package labbench

import (
	"bufio"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/homeward-lab/homeward/emu/netns"
)

const (
	// mininetVersion is Debian's; others are not compared with.
	mininetVersion = "2.3.0"
	// mininetPython is the interpreter that Debian's package belongs to.
	mininetPython = "/usr/bin/python3"
)

//go:embed star.py
var mininetStar string

// noMininet says why mininet cannot run here; empty if it can.
func noMininet() string {
	out, err := exec.Command(mininetPython, "-I", "-c", "import mininet.net as n; print(n.VERSION)").Output()
	switch version := strings.TrimSpace(string(out)); {
	case err != nil:
		return "not here (apt-get install mininet)"
	case version != mininetVersion:
		return "not compared with version " + version
	}
	for _, tool := range []string{"mnexec", "ifconfig"} {
		if _, err := exec.LookPath(tool); err != nil {
			return "not without " + tool
		}
	}
	return ""
}

// mininet is a life of mininet's: hosts and links alone, without switch and
// controller. It is in namespaces of its own, for networks and for processes:
// when it ends, in whatever way, nothing of it stays.
func mininet(ctx context.Context, nodes int) (one life, err error) {
	// The kernel kills the child when the thread that started it ends.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd := exec.CommandContext(ctx, "sh", "-c", `mount -t proc proc /proc && exec "$@"`, "sh",
		mininetPython, "-I", "-c", mininetStar, strconv.Itoa(nodes))
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:   unix.CLONE_NEWPID | unix.CLONE_NEWNET,
		Unshareflags: unix.CLONE_NEWNS,
		Pdeathsig:    syscall.SIGKILL,
	}
	var complaint strings.Builder
	cmd.Stderr = &complaint
	in, err := cmd.StdinPipe()
	if err != nil {
		return one, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return one, err
	}
	if err := cmd.Start(); err != nil {
		return one, fmt.Errorf("mininet: %w", err)
	}
	one, err = converse(bufio.NewReaderSize(out, 1<<16), in, cmd.Process.Pid)
	if err = errors.Join(err, in.Close(), cmd.Wait()); err != nil {
		return one, fmt.Errorf("mininet: %w: %s", err, strings.TrimSpace(complaint.String()))
	}
	return one, nil
}

// converse reads what star.py says, counts the links that work while it is up,
// and has it go down.
func converse(out *bufio.Reader, in io.Writer, pid int) (one life, err error) {
	if one.up, err = seconds(out, "up"); err != nil {
		return one, err
	}
	line, err := saying(out, "pids")
	if err != nil {
		return one, err
	}
	hosts := strings.Fields(line)
	one.links, err = pings(len(hosts), func(leaf int, do func() error) error {
		ns, err := netns.Open(fmt.Sprintf("/proc/%d/root/proc/%s/ns/net", pid, hosts[leaf]))
		if err != nil {
			return err
		}
		return errors.Join(ns.Do(do), ns.Close())
	})
	if err != nil {
		return one, err
	}
	if _, err := io.WriteString(in, "down\n"); err != nil {
		return one, err
	}
	one.down, err = seconds(out, "down")
	return one, err
}

// saying is what follows a word at the beginning of the next line.
func saying(out *bufio.Reader, word string) (string, error) {
	line, err := out.ReadString('\n')
	rest, ok := strings.CutPrefix(strings.TrimSpace(line), word+" ")
	if err != nil || !ok {
		return "", fmt.Errorf("it says %q, want %q: %w", line, word, err)
	}
	return rest, nil
}

// seconds is a number of them that it says, in ms.
func seconds(out *bufio.Reader, word string) (float64, error) {
	text, err := saying(out, word)
	if err != nil {
		return 0, err
	}
	s, err := strconv.ParseFloat(text, 64)
	return s * 1e3, err
}
