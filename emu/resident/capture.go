package resident

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/homeward-lab/homeward/emu/capture"
	"github.com/homeward-lab/homeward/emu/control"
	"github.com/homeward-lab/homeward/emu/run"
	"github.com/homeward-lab/homeward/emu/wire"
	"github.com/homeward-lab/homeward/reports/record"
)

// capture writes packets to the caller's file until the caller says something,
// or goes.
func (k *keeper) capture(ctx context.Context, c *control.Call, lab *run.Lab) error {
	var args control.CaptureArgs
	if err := c.Args(&args); err != nil {
		return err
	}
	if len(c.Files()) != 1 {
		return control.Usagef("%d open files came along, want 1", len(c.Files()))
	}
	points, err := k.points(lab, args.Points)
	if err != nil {
		return err
	}
	var filter []unix.SockFilter
	for _, in := range args.Filter {
		filter = append(filter, unix.SockFilter{Code: in.Code, Jt: in.Jt, Jf: in.Jf, K: in.K})
	}
	// Only now, that nothing is wrong with what was asked: a file may hold an
	// earlier capture. What is no file has no length.
	_ = c.Files()[0].Truncate(0)
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		<-c.Told()
		stop()
	}()
	if err := k.listening(); err != nil {
		return err
	}
	defer k.captures.Done()
	defer context.AfterFunc(k.ending, stop)()
	s := capture.Stream{
		Points: points, Snap: args.Snap, Filter: filter, Expression: args.Expression, Count: uint64(max(args.Count, 0)),
		Listening: func() { _ = c.Send(control.Captured{Listening: true}) }, // a caller that is gone ends ctx
	}
	s.Follow = func(into *capture.Capture) func() {
		return lab.OnSplice(func(of *wire.Splice) {
			for _, e := range of.Ends() {
				if err := into.Beside(lab, e.Node, e.Interface, e.Sees); err != nil {
					k.store.Event(record.Event{AtNs: time.Since(k.began).Nanoseconds(), Node: e.Node, Kind: "error", Text: err.Error()})
				}
			}
		})
	}
	done, err := s.Run(ctx, lab, c.Files()[0])
	if errors.Is(err, syscall.EPIPE) { // Wireshark was closed
		err = nil
	}
	if failed, ok := errors.AsType[*fs.PathError](err); ok { // its name is the keeper's
		return fmt.Errorf("write the capture: %w", failed.Err)
	}
	if err != nil {
		return err
	}
	return c.Send(control.Captured{Packets: done.Packets, Dropped: done.Dropped})
}

// listening counts a capture, unless the lab is on its way down.
func (k *keeper) listening() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.state == control.Stopping {
		return control.Lackf("lab %s is %s", k.start.Name, k.state)
	}
	k.captures.Add(1)
	return nil
}

// points are the interfaces that were asked for; where none was, those at which
// every packet is seen once per hop.
func (k *keeper) points(lab *run.Lab, asked []control.Point) ([]capture.Point, error) {
	p := lab.Plan()
	if len(asked) == 0 {
		return capture.Points(p), nil
	}
	faces := interfaces(p)
	var points []capture.Point
	for _, a := range asked {
		has, ok := faces[a.Node]
		switch {
		case !ok:
			return nil, k.noNode(lab, a.Node)
		case a.Interface == "":
		case !slices.Contains(has, a.Interface):
			return nil, control.NoSuch("interface", a.Interface, a.Node, has)
		default:
			has = []string{a.Interface}
		}
		for _, face := range has {
			if one := (capture.Point{Node: a.Node, Interface: face}); !slices.Contains(points, one) {
				points = append(points, one)
			}
		}
	}
	return points, nil
}
