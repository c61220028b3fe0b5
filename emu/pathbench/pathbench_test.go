package pathbench

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/homeward-lab/homeward/bpf"
	"github.com/homeward-lab/homeward/emu/agent"
	"github.com/homeward-lab/homeward/emu/run"
	"github.com/homeward-lab/homeward/internal/need"
	"github.com/homeward-lab/homeward/reports/figure"
	"github.com/homeward-lab/homeward/topologies/export"
	"github.com/homeward-lab/homeward/topologies/load"
	"github.com/homeward-lab/homeward/topologies/plan"
	"github.com/homeward-lab/homeward/topologies/spec"
)

// A flow's place costs less to find than its hash does.
func TestLookUp(t *testing.T) {
	need.BPF(t)
	const flows = 100_000
	indexed, err := bpf.LookUp(flows, true)
	if err != nil {
		t.Fatal(err)
	}
	hashed, err := bpf.LookUp(flows, false)
	if err != nil {
		t.Fatal(err)
	}
	if indexed < 0 || hashed <= indexed {
		t.Errorf("%.1f ns by place and %.1f ns by hash, want less by place", indexed, hashed)
	}
}

// The programs take what they are said to take: more than nothing, and a flow that
// is set up is carried.
func TestKernelRows(t *testing.T) {
	need.BPF(t)
	b := Bench{Compile: compile, Rounds: 1}
	rows, err := b.kernelRows(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rows {
		if r.Value <= 0 || r.Equal != nil && !*r.Equal {
			t.Errorf("%s: %v %s, equal %v", r.ID, r.Value, r.Unit, r.Equal)
		}
		t.Log(r.ID, r.Figure(), r.BaselineFigure())
	}
}

// The test binary is its own agent.
const agentWord = "serve-as-agent"

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == agentWord {
		if err := agent.Main(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// Every way to build a server lets the packet through as it should, over one hop
// and, with TCP, over the whole path; and nothing of it stays.
func TestWays(t *testing.T) {
	need.BPF(t)
	need.Tool(t, "nft")
	b := Bench{Compile: compile, Rounds: 1, Length: 20 * time.Millisecond, Lab: run.Options{AgentArgs: []string{agentWord}}}
	b.Script = func(p *plan.Plan) ([]byte, error) {
		var script bytes.Buffer
		err := export.NFTables(&script, p)
		return script.Bytes(), err
	}
	for _, part := range []struct {
		rows func(context.Context) ([]figure.Row, error)
		want int
	}{{b.packetRows, 16}, {b.bulkRows, 18}} {
		rows, err := part.rows(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if len(rows) != part.want {
			t.Errorf("%d rows, want %d", len(rows), part.want)
		}
		for _, r := range rows {
			t.Log(r.ID, r.Figure(), r.BaselineFigure())
			if r.Value <= 0 || r.BaselineValue <= 0 || r.Equal == nil || !*r.Equal {
				t.Errorf("%s: %+v", r.ID, r)
			}
		}
	}
}

func compile(servers int) (*plan.Plan, error) {
	doc, err := load.Bytes("bench.yaml", []byte(Scenario))
	if err != nil {
		return nil, err
	}
	s, err := doc.Resolve(spec.Base, nil)
	if err != nil {
		return nil, err
	}
	s.Datacenters[0].Servers = servers
	return plan.CompileVariant(s, spec.Base)
}
