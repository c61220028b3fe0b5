package capture

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
)

// WriteFile writes what is remembered to a new pcapng file: one interface per
// point, packets in the order of time (ns), with their direction. It may be
// called while the capture runs, and after Close. A file that exists is
// replaced; one that could not be written in full is removed.
func (c *Capture) WriteFile(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	err = errors.Join(c.Write(f), f.Close())
	if err != nil {
		os.Remove(path)
		return fmt.Errorf("write capture: %w", err)
	}
	return nil
}

// Write is WriteFile to a writer.
func (c *Capture) Write(w io.Writer) error {
	c.mu.Lock()
	if !c.closed {
		c.flush()
	}
	c.mu.Unlock()
	out, err := newFile(w, c.points, c.snap, "")
	if err != nil {
		return err
	}
	for _, r := range c.store.sorted() {
		if err := writeRecord(out, &r); err != nil {
			return err
		}
	}
	if err := c.writeStats(out); err != nil {
		return err
	}
	return out.Flush()
}

// newFile begins a file with an interface for each point; filter says in words
// what of the packets there is kept.
func newFile(w io.Writer, points []Point, snap int, filter string) (*pcapgo.NgWriter, error) {
	options := pcapgo.NgWriterOptions{SectionInfo: pcapgo.NgSectionInfo{
		Hardware: runtime.GOARCH, OS: runtime.GOOS, Application: "homeward",
	}}
	out, err := pcapgo.NewNgWriterInterface(w, describe(points[0], snap, filter), options)
	for i := 1; i < len(points) && err == nil; i++ {
		_, err = out.AddInterface(describe(points[i], snap, filter))
	}
	return out, err
}

func describe(p Point, snap int, filter string) pcapgo.NgInterface {
	return pcapgo.NgInterface{
		Name:       p.name(),
		OS:         runtime.GOOS,
		LinkType:   layers.LinkTypeEthernet,
		SnapLength: uint32(snap),
		Filter:     filter,
	}
}

func writeRecord(out *pcapgo.NgWriter, r *record) error {
	direction := pcapgo.NgEpbFlagDirectionInbound
	if r.leaving {
		direction = pcapgo.NgEpbFlagDirectionOutbound
	}
	return out.WritePacketWithOptions(gopacket.CaptureInfo{
		Timestamp:      time.Unix(0, r.at),
		CaptureLength:  len(r.data),
		Length:         max(r.length, len(r.data)),
		InterfaceIndex: r.point,
	}, r.data, pcapgo.NgPacketOptions{Flags: &pcapgo.NgEpbFlags{Direction: direction}})
}

// writeStats ends the file with what passed each point, and what was missed.
func (c *Capture) writeStats(out *pcapgo.NgWriter) error {
	points, _ := c.Stats()
	return writeStats(out, points, c.start)
}

func writeStats(out *pcapgo.NgWriter, points []Stats, start time.Time) error {
	now := time.Now()
	for i, s := range points {
		err := out.WriteInterfaceStats(i, pcapgo.NgInterfaceStatistics{
			LastUpdate: now, StartTime: start, EndTime: now,
			PacketsReceived: s.Received, PacketsDropped: s.Dropped,
		})
		if err != nil {
			return err
		}
	}
	return nil
}
