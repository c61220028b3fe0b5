package run

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/homeward-lab/homeward/reports/record"
)

// TestEG1Record: the record of a flow from Osaka that leaves from Tokyo without a
// policy, field by field as the Network Session Log has it. Of values that differ
// from one network to the next the type is looked at. SEMANTICS EG-1, 6.4.
func TestEG1Record(t *testing.T) {
	r := run(t, planOf(t, "dedicated_egress", "base"), Options{})
	i := slices.IndexFunc(r.Sessions, func(s record.Session) bool { return s.OriginPort == 7844 })
	if i < 0 {
		t.Fatal("no session to port 7844")
	}
	data, err := json.Marshal(r.Sessions[i])
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]any{}
	if err := json.Unmarshal(data, &got); err != nil {
		t.Fatal(err)
	}
	const none = "00000000-0000-0000-0000-000000000000"
	want := map[string]any{
		"ClientTCPHandshakeDurationMs": 0.0, "ClientTLSCipher": "", "ClientTLSHandshakeDurationMs": 0.0, "ClientTLSVersion": "none",
		"ConnectionCloseReason": "UNKNOWN", "ConnectionReuse": false, "DestinationTunnelID": none, "DetectedProtocol": "",
		"EgressColoName": "NRT", "EgressIP": "192.0.2.33", "EgressRuleID": none, "EgressRuleName": "", "IngressColoName": "KIX",
		"Offramp": "INTERNET", "OriginIP": "203.0.113.9", "OriginPort": 7844.0, "OriginTLSCertificateIssuer": "",
		"OriginTLSCertificateValidationResult": "NONE", "OriginTLSCipher": "", "OriginTLSHandshakeDurationMs": 0.0, "OriginTLSVersion": "none",
		"Protocol": "UDP", "RuleEvaluationDurationMs": 0.0, "SourceInternalIP": "",
	}
	typed := map[string]any{
		"AccountID": "", "BytesReceived": 1.0, "BytesSent": 1.0, "DeviceID": "", "DeviceName": "", "EgressPort": 1.0, "Email": "",
		"SessionEndTime": 1.0, "SessionID": "", "SessionStartTime": 1.0, "SourceIP": "", "SourcePort": 1.0, "UserID": "", "VirtualNetworkID": "",
	}
	if len(want)+len(typed) != 38 {
		t.Fatalf("%d fields, the sample has 38", len(want)+len(typed))
	}
	for _, field := range slices.Sorted(maps.Keys(want)) {
		if got[field] != want[field] {
			t.Errorf("%s is %v, want %v", field, got[field], want[field])
		}
	}
	for _, field := range slices.Sorted(maps.Keys(typed)) {
		if reflect.TypeOf(got[field]) != reflect.TypeOf(typed[field]) || reflect.TypeOf(typed[field]).Kind() == reflect.Float64 && got[field] == 0.0 {
			t.Errorf("%s is %v (%T), want a %T", field, got[field], got[field], typed[field])
		}
	}
}

// TestEG11Records: every session of every egress scenario, also those that were
// refused, has exactly one record, which does not end before it starts, and bytes
// that no flow sent are in none. SEMANTICS EG-11.
func TestEG11Records(t *testing.T) {
	for name, refused := range map[string]bool{"dedicated_egress": false, "soft_unicast": false, "port_exhaustion": true, "egress_failover": false} {
		r := run(t, planOf(t, name, "base"), Options{})
		seen, sent, failed := map[string]bool{}, int64(0), 0
		for _, s := range r.Sessions {
			if seen[s.SessionID] {
				t.Errorf("%s: session %s has two records", name, s.SessionID)
			}
			seen[s.SessionID] = true
			if s.SessionEndTime < s.SessionStartTime {
				t.Errorf("%s: session %s ends before it starts", name, s.SessionID)
			}
			if s.Refused != "" {
				failed++
			}
			sent += s.BytesSent
		}
		starts := 0
		for _, e := range r.Events {
			if e.Kind == "flow_start" {
				starts++
			}
		}
		if starts+failed != len(r.Sessions) || refused != (failed > 0) {
			t.Errorf("%s: %d sessions began, %d were refused, and there are %d records", name, starts, failed, len(r.Sessions))
		}
		up := int64(0)
		for _, f := range r.Flows {
			up += f.BytesUp
		}
		if sent < up {
			t.Errorf("%s: records have %d bytes sent, flows %d", name, sent, up)
		}
	}
}

// TestSU10: of the same network with and without care about who asks, and what
// each costs a user. SEMANTICS SU-10.
func TestSU10(t *testing.T) {
	rtt := map[string]int64{}
	for variant, node := range map[string]string{"base": "node_paris", "as_the_user": "node_london", "at_home": "node_london", "client_subnet": "node_london", "healthy": "node_london"} {
		for _, f := range run(t, planOf(t, "cdn_misdirect", variant), Options{}).Flows {
			if f.Traffic != "pages" {
				continue
			}
			if f.Server != node || f.Result != record.OK {
				t.Errorf("%s: flow %d went to %s (%s), want %s", variant, f.N, f.Server, f.Result, node)
			}
			rtt[variant] = f.RTTNs
		}
	}
	for _, variant := range []string{"as_the_user", "at_home", "client_subnet"} {
		if detour := 2 * 15 * time.Millisecond; rtt[variant] < rtt["base"]+int64(detour) { // to London and back
			t.Errorf("%s: a round trip of %d ns, with care %d: want it %v longer", variant, rtt[variant], rtt["base"], detour)
		}
	}
}
