package journal

import (
	"testing"
	"time"

	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/dataplane/policy"
	"github.com/homeward-lab/homeward/dataplane/tunnel"
	"github.com/homeward-lab/homeward/reports/record"
	"github.com/homeward-lab/homeward/topologies/plan"
)

// Every kind of on-ramp and off-ramp has its word in the session log (SEMANTICS
// 6.4).
func TestSessionNamesItsEnds(t *testing.T) {
	ramps := []hub.OnRamp{
		{ID: 1, Name: "shop.1.wan", Tenant: 1, Kind: tunnel.GRE},
		{ID: 2, Name: "depot.1.cni", Tenant: 1, Kind: tunnel.Interconnect},
		{ID: 3, Name: "laptop.1", Tenant: 1, Kind: tunnel.Device, User: "ada@example.com", Registration: hub.Registration{0xab, 15: 1}},
		{ID: 4, Name: "office", Tenant: 1, Kind: tunnel.Connector, Registration: hub.Registration{0xcd, 15: 2}},
		{ID: 5, Name: "vault", Tenant: 1, Kind: tunnel.Connector, Translate: true, Registration: hub.Registration{0xef, 15: 3}},
	}
	j := New(&plan.Plan{
		Nodes:         []plan.Node{{ID: "lhr.edge", Datacenter: "lhr"}},
		Interconnects: []plan.Interconnect{{Name: "depot.1.cni", Edge: "lhr.edge"}},
		Servers: []plan.Server{{Node: "lhr.1", Datacenter: "lhr", Config: hub.Config{
			OnRamps: ramps, Tenants: []hub.Tenant{{ID: 1, Name: "acme", VNets: []hub.VNet{{ID: 2, Name: "blue"}}}},
		}}},
	}, &record.Memory{}, time.Time{})
	const office, vault = "cd000000-0000-0000-0000-000000000002", "ef000000-0000-0000-0000-000000000003"
	for _, c := range []struct {
		on, off             ident.OnRamp
		onType, offType, to string
	}{
		{1, 0, "MAGIC", "INTERNET", policy.NilUUID},
		{2, 5, "MAGIC", "CFD_TUNNEL", vault},
		{3, 4, "CF1_CLIENT", "MESH", office},
		{4, 3, "MESH", "WARP", policy.NilUUID},
		{3, 1, "CF1_CLIENT", "MAGIC", policy.NilUUID},
		{9, 9, "OTHER", "", policy.NilUUID},
	} {
		r := j.Session("lhr.1", &hub.Session{Tenant: 1, VNet: 2, OnRamp: c.on, OffRamp: c.off})
		if r.OnrampType != c.onType || r.Offramp != c.offType || r.DestinationTunnelID != c.to {
			t.Errorf("%d to %d: %s to %s by %s, want %s to %s by %s", c.on, c.off, r.OnrampType, r.Offramp, r.DestinationTunnelID, c.onType, c.offType, c.to)
		}
		id, name, email := "", "", ""
		if c.on == 3 {
			id, name, email = "ab000000-0000-0000-0000-000000000001", "laptop.1", "ada@example.com"
		}
		if r.DeviceID != id || r.RegistrationID != id || r.DeviceName != name || r.Email != email {
			t.Errorf("%d: device %q (%q) %q of %q, want %q %q of %q", c.on, r.DeviceID, r.RegistrationID, r.DeviceName, r.Email, id, name, email)
		}
		if r.VNet != "blue" || r.VirtualNetworkID != "00000000-0000-0000-0000-000000000002" {
			t.Errorf("virtual network %q, %s; want blue, number 2", r.VNet, r.VirtualNetworkID)
		}
	}
}
