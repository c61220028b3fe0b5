package speaker

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// birdSocket is the name of BIRD's control socket in its own file system.
const birdSocket = "control"

// nowhere is the root of a file system that is mounted nowhere and ends with the last
// who has it open, however that comes: the control socket, which BIRD insists on
// having a name for, leaves nothing on the machine.
func nowhere() (*os.File, error) {
	fs, err := unix.Fsopen("tmpfs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("open a tmpfs: %w", err)
	}
	defer unix.Close(fs)
	if err := unix.FsconfigCreate(fs); err != nil {
		return nil, fmt.Errorf("make a tmpfs: %w", err)
	}
	root, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("mount a tmpfs: %w", err)
	}
	return os.NewFile(uintptr(root), "tmpfs"), nil
}

// birdControl is a connection to a BIRD's control socket. BIRD says there when it has
// done what it was asked; a signal it forgets while it is busy with another.
type birdControl struct {
	conn  net.Conn
	lines *bufio.Scanner
}

func dialBIRD(root *os.File) (*birdControl, error) {
	conn, err := net.DialTimeout("unix", fmt.Sprintf("/proc/self/fd/%d/%s", root.Fd(), birdSocket), patience)
	if err != nil {
		return nil, err
	}
	c := &birdControl{conn, bufio.NewScanner(conn)}
	if _, err := c.answer(); err != nil { // its greeting
		return nil, errors.Join(err, conn.Close())
	}
	return c, nil
}

// reconfigure has BIRD read its configuration, and returns when all is done and said
// to neighbours that follows from it.
func (c *birdControl) reconfigure() error {
	if _, err := c.ask("configure"); err != nil {
		return err
	}
	// What neighbours are told anew because a filter is another is said in a later turn
	// of BIRD's loop. Before it BIRD 2.0 may sleep, up to a second, as it does after a
	// signal, unless something comes: a question is a turn.
	for turns := 0; ; turns++ {
		status, err := c.ask("show status")
		if err != nil || turns > 0 && strings.Contains(status, "up and running") {
			return err
		}
	}
}

// ask gives a command and returns the last line of the answer, without its code.
func (c *birdControl) ask(command string) (string, error) {
	if err := c.conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return "", err
	}
	if _, err := fmt.Fprintln(c.conn, command); err != nil {
		return "", err
	}
	text, err := c.answer()
	if err != nil {
		return "", fmt.Errorf("%s: %w", command, err)
	}
	return text, nil
}

// answer reads on to the end of an answer: a line with a code and a space, where
// those before have a hyphen, or no code. Codes from 8000 on are of failures.
func (c *birdControl) answer() (string, error) {
	for c.lines.Scan() {
		code, text, _ := strings.Cut(c.lines.Text(), " ")
		switch {
		case len(code) != 4 || strings.Trim(code, "0123456789") != "":
		case code >= "8000":
			return "", errors.New(text)
		default:
			return text, nil
		}
	}
	return "", errors.Join(errors.New("no answer"), c.lines.Err())
}
