package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"github.com/homeward-lab/homeward/bpf"
	"github.com/homeward-lab/homeward/emu/agent"
	emurun "github.com/homeward-lab/homeward/emu/run"
	"github.com/homeward-lab/homeward/emu/speaker"
	"github.com/homeward-lab/homeward/reports/record"
	"github.com/homeward-lab/homeward/topologies/export"
	"github.com/homeward-lab/homeward/topologies/plan"
)

// labEngines are the dataplanes that a lab can have on this machine, the best
// first.
func labEngines(io string) []engine {
	if agent.IO(io) != agent.IOPlain && agent.IO(io) != agent.IOXDP && bpf.DataplaneSupported() == nil {
		return []engine{ebpfEngine(), hubEngine()}
	}
	return []engine{hubEngine()}
}

// namedLab is the engine that --on names; ok is false if it names none.
func namedLab(on string) (e engine, ok bool) {
	for _, e := range []engine{hubEngine(), ebpfEngine(), diyEngine()} {
		if e.name == on {
			return e, true
		}
	}
	return engine{}, false
}

// hubEngine has the Go hub decide every packet.
func hubEngine() engine { return labEngine(emurun.Hub) }

// ebpfEngine has the kernel carry what the hub has set up.
func ebpfEngine() engine {
	e := labEngine(emurun.EBPF)
	e.possible = func(p *plan.Plan) error {
		if err := bpf.DataplaneSupported(); err != nil {
			return fmt.Errorf("the eBPF dataplane: %w; --on emu-hub does without", err)
		}
		return emurun.Possible(p)
	}
	return e
}

func labEngine(d emurun.Dataplane) engine {
	return engine{
		name: d.Engine(), lab: true, dataplane: string(d), refused: emurun.Refused, possible: emurun.Possible, missing: missingNeeds,
		run: func(ctx context.Context, s *session, v *variant, dir string, turn turnFunc, sink record.Sink) error {
			o := s.labOptions(dir, turn)
			o.Dataplane = d
			return emurun.Run(ctx, v.plan, sink, o)
		},
	}
}

// diyEngine has servers of the kernel's own parts (homeward export --to nftables).
func diyEngine() engine {
	e := labEngine(emurun.NFTables)
	e.possible = func(p *plan.Plan) error {
		if _, err := exec.LookPath("nft"); err != nil {
			return fmt.Errorf("%w; Debian: apt-get install nftables iproute2", err)
		}
		if err := export.NFTables(io.Discard, p); err != nil {
			return fmt.Errorf("%s/%s: %w", p.Scenario, p.Variant, err)
		}
		return emurun.Possible(p)
	}
	e.run = func(ctx context.Context, s *session, v *variant, dir string, turn turnFunc, sink record.Sink) error {
		var script bytes.Buffer
		if err := export.NFTables(&script, v.plan); err != nil {
			return err
		}
		o := s.labOptions(dir, turn)
		o.Dataplane, o.Script = emurun.NFTables, script.Bytes()
		return emurun.Run(ctx, v.plan, sink, o)
	}
	return e
}

func (s *session) labOptions(dir string, turn turnFunc) emurun.Options {
	o := ownCommands()
	o.IO, o.Wire, o.Speaker, o.Versions, o.Capture = agent.IO(s.flags.io), emurun.WireEngine(s.flags.wire), speaker.Kind(s.flags.speaker), versions(), filepath.Join(dir, record.CaptureFile)
	o.Evidence, o.Turn = dir, turn
	if s.flags.keep {
		o.Keep = func(ctx context.Context, nodes []emurun.Door) {
			s.screen.clear()
			fmt.Fprintln(s.screen.w, "The lab is up. Enter a node, as root:")
			for _, n := range nodes {
				fmt.Fprintf(s.screen.w, "  nsenter --net=%s   # %s\n", n.Path, n.Node)
			}
			fmt.Fprintln(s.screen.w, "Ctrl-C takes it down.")
			<-ctx.Done()
		}
	}
	return o
}

// knownIO says whether --io is a word.
func knownIO(io string) bool {
	return io == "" || slices.Contains(ioWords(), io)
}

// ioWords are the words of --io.
func ioWords() []string {
	return []string{string(agent.IOVnet), string(agent.IOPlain), string(agent.IOXDP)}
}

// speakers are the words of --speaker, the default first.
func speakers() []string {
	var all []string
	for _, k := range speaker.Kinds() {
		all = append(all, string(k))
	}
	return all
}

// wirePossible and wireRefuses say what this machine, and an engine of impaired
// links, cannot do.
func wirePossible(kind string) error              { return emurun.WireEngine(kind).Possible() }
func wireRefuses(kind string, p *plan.Plan) error { return emurun.WireEngine(kind).Refuses(p) }

// speakable says whether this machine has a speaker.
func speakable(kind string) error { return speaker.Possible(speaker.Kind(kind)) }

// machineCommands are what a machine with labs has beside labCommands.
func machineCommands() []*cobra.Command {
	return []*cobra.Command{newDoctor(), newGrant(), newAgent(), newPump(), newStar(), newSpeaker()}
}
