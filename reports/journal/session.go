package journal

import (
	"encoding/hex"
	"strings"
	"time"

	"github.com/homeward-lab/homeward/dataplane/drop"
	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/dataplane/policy"
	"github.com/homeward-lab/homeward/dataplane/tunnel"
	"github.com/homeward-lab/homeward/reports/record"
)

// noTLS is the version of TLS that was not spoken (SEMANTICS 6.4).
const noTLS = "none"

// sessionID is the session log's form: 32 hex digits.
func sessionID(s *hub.Session) string { return hex.EncodeToString(s.ID[:]) }

// Session writes a session of a server as the Network Session Log has it
// (SEMANTICS 6.4). Times in the log are Unix nanoseconds.
func (j *Journal) Session(server string, s *hub.Session) record.Session {
	n, wall := j.names, j.wall
	onramp := n.OnRamps[s.OnRamp]
	r := record.Session{
		AccountID:             n.Tenants[s.Tenant],
		BytesReceived:         int64(s.BytesReceived),
		BytesSent:             int64(s.BytesSent),
		ConnectionCloseReason: s.Close.String(),
		DestinationTunnelID:   n.tunnelID(s),
		ClientTLSVersion:      noTLS,
		EgressColoName:        strings.ToUpper(n.datacenter[n.egressServer(server, s)]),
		EgressRuleID:          policy.RuleUUID(n.Tenants[s.Tenant], s.Rules.Egress.ID),
		EgressRuleName:        s.Rules.Egress.Name,
		IngressColoName:       strings.ToUpper(n.datacenter[server]), // a flow is at home where it comes in
		Offramp:               n.offRamp(s.OffRamp),
		OnrampType:            n.onRampType(s.OnRamp),
		OriginIP:              s.Tuple.Dst.Addr().String(),
		OriginPort:            int(s.Tuple.Dst.Port()),
		OriginTLSValidation:   "NONE",
		OriginTLSVersion:      noTLS,
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
		EgressServer:          n.egressServer(server, s),
		ReturnOnRamp:          n.OnRamps[s.Return],
		OffRamp:               n.OnRamps[s.OffRamp],
		VNet:                  n.VNets[s.Tenant][s.VNet],
		Rules:                 rules(&s.Rules),
		StartNs:               int64(s.Start),
		EndNs:                 int64(s.End),
	}
	if o := n.ramps[s.OnRamp]; o != nil && o.Kind == tunnel.Device {
		r.DeviceID, r.DeviceName, r.Email, r.RegistrationID = policy.UUID(o.Registration), o.Name, o.User, policy.UUID(o.Registration)
		r.SourceInternalIP = "" // of a GRE or IPsec tunnel alone
		r.UserID = policy.RuleUUID(r.AccountID, o.User)
	}
	if s.Refused != drop.None {
		r.Refused = s.Refused.String()
	}
	if s.OffRamp != 0 || s.Refused != drop.None {
		r.EgressServer = ""
	}
	if s.Egress.IsValid() {
		r.EgressIP, r.EgressPort = s.Egress.Addr().String(), int(s.Egress.Port())
	}
	return r
}

// egressServer is the server that a session leaves from: the given one, whose
// session it is, unless it says another.
func (n *names) egressServer(home string, s *hub.Session) string {
	if s.EgressServer == 0 {
		return home
	}
	return n.Servers[s.EgressServer]
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

// onRampType is how the session log calls the kind of a flow's on-ramp.
func (n *names) onRampType(id ident.OnRamp) string {
	o := n.ramps[id]
	if o == nil {
		return "OTHER"
	}
	switch o.Kind {
	case tunnel.Device:
		return "CF1_CLIENT"
	case tunnel.Connector:
		return "MESH"
	}
	return "MAGIC"
}

// offRamp is how it calls where a flow goes; 0 is the Internet.
func (n *names) offRamp(id ident.OnRamp) string {
	o := n.ramps[id]
	switch {
	case id == 0:
		return "INTERNET"
	case o == nil:
		return ""
	case o.Kind == tunnel.Device:
		return "WARP"
	case o.Kind == tunnel.Connector && o.Translate:
		return "CFD_TUNNEL"
	case o.Kind == tunnel.Connector:
		return "MESH"
	}
	return "MAGIC"
}

// tunnelID is the connector that a flow goes to.
func (n *names) tunnelID(s *hub.Session) string {
	if o := n.ramps[s.OffRamp]; o != nil && o.Kind == tunnel.Connector {
		return policy.UUID(o.Registration)
	}
	return policy.NilUUID
}

// vnetID writes a virtual network as a UUID: the default one is number 1.
func vnetID(v ident.VNet) string {
	return policy.UUID([16]byte{14: byte(v >> 8), 15: byte(v)})
}
