// Package uplink connects a node of a lab to the outside by the machine's own
// CNI plugins (Container Network Interface, specification 1.0.0): the chain of
// a network configuration list, run as programs, each with JSON on stdin.
//
// Everything else of a lab lives and dies with its keeper. A plugin does not: it
// writes leases and rules on the machine, which only its DEL takes back. So that
// this happens after SIGKILL too, what is connected is noted in a file first,
// and Sweep, at the next start, takes back what nobody owns any more. The law:
// no ADD without a note, and no note goes before its DEL has succeeded.
package uplink

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/homeward-lab/homeward/emu/control"
	"github.com/homeward-lab/homeward/emu/netns"
	"github.com/homeward-lab/homeward/topologies/plan"
)

// Environment variables of CNI's own tools, and where they look without them.
const (
	pathEnv, defaultPath     = "CNI_PATH", "/opt/cni/bin:/usr/lib/cni"
	configEnv, defaultConfig = "NETCONFPATH", "/etc/cni/net.d"
)

// ErrNoNetwork is wrapped where the machine has no network of the name.
var ErrNoNetwork = errors.New("no such CNI network")

// patience bounds one plugin.
const patience = 30 * time.Second

// Options say where things are; the zero value is the machine's usual places.
type Options struct {
	// Path are the folders of plugins, joined by colons; empty means CNI_PATH.
	Path string
	// Config is the folder of *.conflist files; empty means NETCONFPATH.
	Config string
	// State is the folder of notes; empty means uplinks below the folder of the
	// labs' sockets.
	State string
	// Outside is the network namespace in which plugins run; nil means that of
	// this process.
	Outside *netns.NS
}

func (o Options) withDefaults() Options {
	first := func(own, env, usual string) string {
		if own != "" {
			return own
		}
		if v := os.Getenv(env); v != "" {
			return v
		}
		return usual
	}
	o.Path, o.Config = first(o.Path, pathEnv, defaultPath), first(o.Config, configEnv, defaultConfig)
	if o.State == "" {
		o.State = filepath.Join(first("", control.RuntimeEnv, "/run/homeward"), "uplinks")
	}
	return o
}

// note is what a DEL needs, kept in a file from before ADD.
type note struct {
	Container string `json:"container"`
	Interface string `json:"interface"`
	Path      string `json:"path"`
	Network   list   `json:"network"`
	// Result is the last plugin's, once there is one.
	Result json.RawMessage `json:"result,omitempty"`
}

// list is a network configuration list; plugins are kept as they are written.
type list struct {
	Version string                       `json:"cniVersion"`
	Name    string                       `json:"name"`
	Plugins []map[string]json.RawMessage `json:"plugins"`
}

// Uplink is a node's connection to the outside.
type Uplink struct {
	note    note
	options Options
	path    string
	file    *os.File // of that path, locked for as long as the process lives
	ns      *netns.NS
}

// Connect runs the chain's ADD for a node, whose namespace is ns. The error wraps
// exec.ErrNotFound or ErrNoNetwork where plugins or the network are missing.
func Connect(ctx context.Context, u plan.Uplink, ns *netns.NS, o Options) (*Uplink, error) {
	o = o.withDefaults()
	fail := func(err error) (*Uplink, error) {
		return nil, fmt.Errorf("uplink of %s to %s: %w", u.Node, u.Network, err)
	}
	network, err := o.network(u.Network)
	if err != nil {
		return fail(err)
	}
	c := &Uplink{options: o, ns: ns, note: note{Container: container(), Interface: u.Interface, Path: o.Path, Network: network}}
	if err := c.open(); err != nil {
		return fail(err)
	}
	if err := c.add(ctx); err != nil {
		return fail(errors.Join(err, c.Close()))
	}
	return c, nil
}

// Possible says what of an uplink's network and plugins the machine lacks; the
// error is as Connect's.
func Possible(u plan.Uplink, o Options) error {
	if _, err := o.withDefaults().network(u.Network); err != nil {
		return fmt.Errorf("uplink of %s to %s: %w", u.Node, u.Network, err)
	}
	return nil
}

// network reads the network of a name, all of whose plugins are there.
func (o Options) network(name string) (list, error) {
	l, err := find(o.Config, name)
	if err != nil {
		return list{}, err
	}
	for _, p := range l.Plugins {
		if _, err := plugin(o.Path, p); err != nil {
			return list{}, err
		}
	}
	return l, nil
}

// container is an id that no other connection has.
func container() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	return "homeward-" + hex.EncodeToString(b[:])
}

func (c *Uplink) add(ctx context.Context) error {
	at := fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), c.ns.Fd())
	for _, p := range c.note.Network.Plugins {
		out, err := c.note.call(ctx, "ADD", at, p, c.options)
		if err != nil {
			return err
		}
		c.note.Result = out
		if err := c.write(); err != nil {
			return err
		}
	}
	return nil
}

// Close runs the chain's DEL, and forgets the connection if that succeeds.
func (c *Uplink) Close() error {
	if c.file == nil {
		return nil
	}
	at := ""
	if fd := c.ns.Fd(); fd >= 0 {
		at = fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), fd)
	}
	err := c.note.del(context.Background(), at, c.options)
	if err == nil {
		err = forget(c.path)
	}
	err = errors.Join(err, c.file.Close())
	c.file = nil
	return err
}

// del takes back what ADD did, the last plugin first. Plugins take it well when
// there is nothing to take back (specification, DEL).
func (n *note) del(ctx context.Context, at string, o Options) error {
	var errs []error
	for _, p := range slices.Backward(n.Network.Plugins) {
		_, err := n.call(ctx, "DEL", at, p, o)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// find reads the network of a name.
func find(dir, name string) (list, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.conflist"))
	if err != nil {
		return list{}, err
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			return list{}, err
		}
		var l list
		if err := json.Unmarshal(text, &l); err != nil {
			return list{}, fmt.Errorf("%s: %w", f, err)
		}
		if l.Name == name {
			if len(l.Plugins) == 0 {
				return list{}, fmt.Errorf("%s: a network without plugins", f)
			}
			return l, nil
		}
	}
	return list{}, fmt.Errorf("%w: no *.conflist in %s (%s) has the name %q", ErrNoNetwork, dir, configEnv, name)
}

// plugin finds the program of a plugin.
func plugin(path string, config map[string]json.RawMessage) (string, error) {
	var name string
	if err := json.Unmarshal(config["type"], &name); err != nil || name == "" || strings.ContainsRune(name, '/') {
		return "", fmt.Errorf("a plugin without a type: %s", config["type"])
	}
	for _, dir := range filepath.SplitList(path) {
		at := filepath.Join(dir, name)
		if info, err := os.Stat(at); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return at, nil
		}
	}
	return "", fmt.Errorf("CNI plugin %q is not in %s (apt-get install containernetworking-plugins, or set %s): %w", name, path, pathEnv, exec.ErrNotFound)
}

// call runs one plugin, and returns its result.
func (n *note) call(ctx context.Context, command, at string, config map[string]json.RawMessage, o Options) (json.RawMessage, error) {
	exe, err := plugin(n.Path, config)
	if err != nil {
		return nil, err
	}
	in, err := n.input(config)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, exe)
	cmd.Env = append(os.Environ(), "CNI_COMMAND="+command, "CNI_CONTAINERID="+n.Container, "CNI_NETNS="+at, "CNI_IFNAME="+n.Interface, pathEnv+"="+n.Path)
	// Whoever dies in the middle of an ADD leaves a note: it must not come true later.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var out, complaint bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(in), &out, &complaint
	if err := o.outside(cmd.Run); err != nil {
		return nil, fmt.Errorf("CNI plugin %s: %s: %w", filepath.Base(exe), command, said(err, out.Bytes(), complaint.String()))
	}
	return out.Bytes(), nil
}

// outside runs f where plugins run, on a thread that outlives what it starts.
func (o Options) outside(f func() error) error {
	if o.Outside != nil {
		return o.Outside.Do(f)
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	return f()
}

// input is a plugin's configuration with what the list and the plugin before it
// add (specification, "Deriving request configuration from plugin configuration").
func (n *note) input(config map[string]json.RawMessage) ([]byte, error) {
	derived := map[string]json.RawMessage{}
	for k, v := range config {
		if k != "capabilities" {
			derived[k] = v
		}
	}
	for k, v := range map[string]string{"cniVersion": n.Network.Version, "name": n.Network.Name} {
		text, err := json.Marshal(v)
		if err != nil {
			return nil, err
		}
		derived[k] = text
	}
	if n.Result != nil {
		derived["prevResult"] = n.Result
	}
	return json.Marshal(derived)
}

// said is a plugin's own account of its failure: an error object on stdout.
func said(err error, out []byte, complaint string) error {
	var e struct {
		Msg     string `json:"msg"`
		Details string `json:"details"`
	}
	if json.Unmarshal(out, &e) == nil && e.Msg != "" {
		return errors.New(strings.TrimSuffix(strings.Join([]string{e.Msg, e.Details}, ": "), ": "))
	}
	if complaint = strings.TrimSpace(complaint); complaint != "" {
		return fmt.Errorf("%w: %s", err, complaint)
	}
	return err
}
