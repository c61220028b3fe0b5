package run_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/homeward-lab/homeward/emu/labtest"
	"github.com/homeward-lab/homeward/emu/run"
	"github.com/homeward-lab/homeward/internal/need"
	"github.com/homeward-lab/homeward/reports/record"
	"github.com/homeward-lab/homeward/topologies/export"
)

// The do-it-yourself servers bring equal flows of overlapping branches home, each
// by an address and port of its own that is in its server's slice; without return
// routing what has no route is null routed, and counted.
func TestNFTablesBringFlowsHome(t *testing.T) {
	need.Tool(t, "nft")
	need.Tool(t, "ip")
	const traffic = `traffic:
  - {id: same, from: shop.*.till, to: web, tcp: 443, source_port: 40000, response: 64KiB, connect: 2s, timeout: 5s}
  - {id: ping, from: shop.*.till, to: web, icmp: 3, packets: 2, connect: 2s, timeout: 5s}
  - {id: ask, from: shop.*.till, to: web, udp: 7, source_port: 40001, connect: 2s, timeout: 5s}`
	for _, arr := range []bool{true, false} {
		t.Run(fmt.Sprintf("arr %t", arr), func(t *testing.T) {
			p := compile(t, fmt.Sprintf(lab, arr, traffic))
			var script bytes.Buffer
			if err := export.NFTables(&script, p); err != nil {
				t.Fatal(err)
			}
			need.Root(t)
			labtest.Clean(t)
			var memory record.Memory
			if err := run.Run(t.Context(), p, &memory, run.Options{Dataplane: run.NFTables, Script: script.Bytes()}); err != nil {
				t.Fatal(err)
			}
			r := memory.Records()
			pairs := map[string]bool{}
			for _, f := range r.Flows {
				if want := map[bool]record.Result{true: record.OK, false: record.Lost}[arr]; f.Result != want {
					t.Errorf("%s#%d: %s (%s), want %s", f.Traffic, f.N, f.Result, f.Reason, want)
				}
				pairs[fmt.Sprint(f.Proto, f.EgressIP, f.EgressPort)] = true
			}
			if len(pairs) != len(r.Flows) {
				t.Errorf("%d addresses and ports for %d flows, want as many", len(pairs), len(r.Flows))
			}
			if r.Run.Engine != "emu-nftables" || r.Run.Metrics.PortOutsideSlice != 0 {
				t.Errorf("engine %s, %d packets outside the slice", r.Run.Engine, r.Run.Metrics.PortOutsideSlice)
			}
			nulls := int64(0)
			for _, counts := range r.Run.Metrics.Servers {
				nulls += counts["drop.null_routed"]
			}
			if (nulls == 0) != arr {
				t.Errorf("%d replies null routed with return routing %t", nulls, arr)
			}
		})
	}
}
