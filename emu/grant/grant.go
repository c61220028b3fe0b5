// Package grant lets who is not root load eBPF programs in a user namespace of
// their own, after root allowed it once: by a BPF token, which Linux 6.9 and newer
// have.
//
// Root serves a socket (Serve), the namespace's first process asks there (Ask) and
// has a BPF file system then that carries the right. Its law: nobody but the user
// who was named gets it, and it is good inside of their namespace alone.
package grant

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Socket is where root serves, and who is not root asks.
const Socket = "/run/homeward-grant.sock"

// delegated is what the token allows: every command on maps, programs for sockets,
// tcx and XDP, attached anywhere in the namespace.
func delegated() [4][2]string {
	return [4][2]string{
		{"delegate_cmds", "any"},
		{"delegate_maps", "any"},
		{"delegate_progs", fmt.Sprintf("%#x", 1<<unix.BPF_PROG_TYPE_SOCKET_FILTER|1<<unix.BPF_PROG_TYPE_SCHED_CLS|1<<unix.BPF_PROG_TYPE_XDP)},
		{"delegate_attachs", "any"},
	}
}

// patience bounds one request.
const patience = 5 * time.Second

// Serve gives the user the right to load programs, each time that a process of
// theirs asks at the socket, until ctx ends. It needs CAP_SYS_ADMIN. ready is
// called when it serves.
func Serve(ctx context.Context, socket string, user uint32, ready func()) error {
	if err := os.MkdirAll(filepath.Dir(socket), 0o755); err != nil {
		return err
	}
	if err := os.Remove(socket); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		return err
	}
	defer l.Close() // which removes it
	if err := os.Chmod(socket, 0o666); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	ready()
	for {
		c, err := l.AcceptUnix()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		answer := "ok"
		if err := give(c, user); err != nil {
			answer = err.Error()
		}
		_, _ = c.Write([]byte(answer)) // who asked may be gone
		c.Close()
	}
}

// give makes the file system that c hands over one that carries the right.
func give(c *net.UnixConn, user uint32) error {
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var peer *unix.Ucred
	var failed error
	if err := raw.Control(func(fd uintptr) { peer, failed = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); err != nil || failed != nil {
		return errors.Join(err, failed)
	}
	if peer.Uid != user {
		return fmt.Errorf("user %d has no grant here, user %d has", peer.Uid, user)
	}
	space, err := receive(c)
	if err != nil {
		return err
	}
	defer unix.Close(space)
	for _, d := range delegated() {
		if err := fsconfig(space, unix.FSCONFIG_SET_STRING, d[0], d[1]); err != nil {
			return fmt.Errorf("%s: %w (a BPF token wants Linux 6.9)", d[0], err)
		}
	}
	if err := fsconfig(space, unix.FSCONFIG_CMD_CREATE, "", ""); err != nil {
		return fmt.Errorf("make the BPF file system: %w", err)
	}
	return nil
}

// receive takes one descriptor.
func receive(c *net.UnixConn) (int, error) {
	space := make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := c.ReadMsgUnix(make([]byte, 1), space)
	if err != nil {
		return 0, err
	}
	messages, err := unix.ParseSocketControlMessage(space[:n])
	if err != nil || len(messages) != 1 {
		return 0, fmt.Errorf("want a descriptor, got %d messages (%w)", len(messages), err)
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		return 0, fmt.Errorf("want a descriptor, got %d (%w)", len(fds), err)
	}
	return fds[0], nil
}

// Ask gets the right for this process and those that it starts. The process must
// be root of a user namespace that has a mount namespace of its own. Nothing must
// have been loaded before.
func Ask(socket string) error {
	c, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	space, err := unix.Fsopen("bpf", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return fmt.Errorf("open a BPF file system: %w", err)
	}
	defer unix.Close(space)
	// Who refuses does not wait for the descriptor, and its answer says why.
	if _, _, err := c.WriteMsgUnix([]byte{0}, unix.UnixRights(space), nil); err != nil && !errors.Is(err, unix.EPIPE) {
		return err
	}
	answer := make([]byte, 512)
	n, err := c.Read(answer)
	if err != nil {
		return err
	}
	if got := string(answer[:n]); got != "ok" {
		return errors.New(got)
	}
	return mount(space)
}

// mount puts the file system where loaders look for it, for this mount namespace.
func mount(space int) error {
	m, err := unix.Fsmount(space, unix.FSMOUNT_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("mount the BPF file system: %w", err)
	}
	defer unix.Close(m)
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("keep mounts to this namespace: %w", err)
	}
	if err := unix.MoveMount(m, "", unix.AT_FDCWD, "/sys/fs/bpf", unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return fmt.Errorf("mount /sys/fs/bpf: %w", err)
	}
	return nil
}

// fsconfig is fsconfig(2), which x/sys/unix lacks.
func fsconfig(fd, command int, key, value string) error {
	var k, v *byte
	var err error
	if key != "" {
		if k, err = unix.BytePtrFromString(key); err != nil {
			return err
		}
		if v, err = unix.BytePtrFromString(value); err != nil {
			return err
		}
	}
	_, _, errno := unix.Syscall6(unix.SYS_FSCONFIG, uintptr(fd), uintptr(command), uintptr(unsafe.Pointer(k)), uintptr(unsafe.Pointer(v)), 0, 0)
	runtime.KeepAlive(k)
	runtime.KeepAlive(v)
	if errno != 0 {
		return errno
	}
	return nil
}
