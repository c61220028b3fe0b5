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
	options := pcapgo.NgWriterOptions{SectionInfo: pcapgo.NgSectionInfo{
		Hardware: runtime.GOARCH, OS: runtime.GOOS, Application: "homeward",
	}}
	out, err := pcapgo.NewNgWriterInterface(w, c.describe(0), options)
	if err != nil {
		return err
	}
	for i := 1; i < len(c.points); i++ {
		if _, err := out.AddInterface(c.describe(i)); err != nil {
			return err
		}
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

func (c *Capture) describe(i int) pcapgo.NgInterface {
	return pcapgo.NgInterface{
		Name:       c.points[i].name(),
		OS:         runtime.GOOS,
		LinkType:   layers.LinkTypeEthernet,
		SnapLength: uint32(c.snap),
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
	now := time.Now()
	points, _ := c.Stats()
	for i, s := range points {
		err := out.WriteInterfaceStats(i, pcapgo.NgInterfaceStatistics{
			LastUpdate: now, StartTime: c.start, EndTime: now,
			PacketsReceived: s.Received, PacketsDropped: s.Dropped,
		})
		if err != nil {
			return err
		}
	}
	return nil
}
