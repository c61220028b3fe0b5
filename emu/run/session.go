package run

import (
	"encoding/hex"
	"time"

	"github.com/homeward-lab/homeward/dataplane/drop"
	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/dataplane/policy"
	"github.com/homeward-lab/homeward/reports/record"
)

// nilUUID stands where no rule, tunnel or network is meant (SEMANTICS 6.4).
const nilUUID = "00000000-0000-0000-0000-000000000000"

// sessionID is the session log's form: 32 hex digits.
func sessionID(s *hub.Session) string { return hex.EncodeToString(s.ID[:]) }

// sessionRecord writes a session as the Network Session Log has it (SEMANTICS
// 6.4). Times in the log are Unix nanoseconds: wall is the start of the run.
func (n *names) sessionRecord(server string, s *hub.Session, wall time.Time) record.Session {
	onramp := n.OnRamps[s.OnRamp]
	r := record.Session{
		AccountID:             n.Tenants[s.Tenant],
		BytesReceived:         int64(s.BytesReceived),
		BytesSent:             int64(s.BytesSent),
		ConnectionCloseReason: s.Close.String(),
		DestinationTunnelID:   nilUUID,
		EgressColoName:        n.datacenter[server],
		EgressRuleID:          policy.RuleUUID(n.Tenants[s.Tenant], s.Rules.Egress.ID),
		EgressRuleName:        s.Rules.Egress.Name,
		IngressColoName:       n.ingress[onramp],
		Offramp:               "INTERNET",
		OnrampType:            "MAGIC",
		OriginIP:              s.Tuple.Dst.Addr().String(),
		OriginPort:            int(s.Tuple.Dst.Port()),
		Protocol:              protocol(s.Tuple.Proto),
		SessionStartTime:      wall.Add(time.Duration(s.Start)).UnixNano(),
		SessionEndTime:        wall.Add(time.Duration(s.End)).UnixNano(),
		SessionID:             sessionID(s),
		SourceIP:              s.Tuple.Src.Addr().String(),
		SourcePort:            int(s.Tuple.Src.Port()),
		SourceInternalIP:      s.Tuple.Src.Addr().String(),
		VirtualNetworkID:      vnetID(s.VNet),
		OnRamp:                onramp,
		HomeServer:            server,
		ReturnOnRamp:          n.OnRamps[s.Return],
		OffRamp:               n.OnRamps[s.OffRamp],
		VNet:                  n.VNets[s.Tenant][s.VNet],
		Rules:                 rules(&s.Rules),
		StartNs:               int64(s.Start),
		EndNs:                 int64(s.End),
	}
	if s.Refused != drop.None {
		r.Refused = s.Refused.String()
	}
	if s.Egress.IsValid() {
		r.EgressIP, r.EgressPort = s.Egress.Addr().String(), int(s.Egress.Port())
	}
	return r
}

// rules are the ids of the policies that matched, by stage.
func rules(r *hub.Rules) []string {
	var all []string
	for _, stage := range []struct {
		name string
		rule hub.Rule
	}{{"firewall", r.Firewall}, {"egress", r.Egress}, {"network", r.Network}} {
		if stage.rule.ID != "" {
			all = append(all, stage.name+" "+stage.rule.ID)
		}
	}
	return all
}

// vnetID writes a virtual network as a UUID: the default one is number 1.
func vnetID(v ident.VNet) string {
	id := []byte(nilUUID)
	hex.Encode(id[len(id)-4:], []byte{byte(v >> 8), byte(v)})
	return string(id)
}
