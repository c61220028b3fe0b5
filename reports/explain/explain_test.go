package explain

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/homeward-lab/homeward/internal/golden"
	"github.com/homeward-lab/homeward/reports/fixture"
	"github.com/homeward-lab/homeward/reports/record"
)

func tellTo(t *testing.T, dir, query string) string {
	t.Helper()
	var b bytes.Buffer
	if err := Flow(&b, dir, query); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestGolden: one flow of each kind of life.
func TestGolden(t *testing.T) {
	dir := fixture.Write(t)
	for _, tt := range []struct{ file, query string }{
		{"home", "base:same#2"},
		{"misdelivered", "routes_only:same#2"},
		{"null_routed", "no_routes:same#2"},
		{"joined", "tuple_key:same#2"},
		{"ping", "base:ping#3"},
	} {
		t.Run(tt.file, func(t *testing.T) {
			golden.Equal(t, "testdata/"+tt.file+".txt", []byte(tellTo(t, dir, tt.query)))
		})
	}
}

// flowOf is a run of one flow.
func flowOf(s record.Session, f record.Flow, events ...record.Event) *record.Records {
	r := &record.Records{
		Run: record.Run{Scenario: "office", Variant: "base", Engine: "emu-hub", Topology: record.Topology{Links: []record.TopologyLink{
			{ID: "shop.1.wan", Class: "tunnel", Kind: "gre"}, {ID: "db", Class: "tunnel", Kind: "connector"}, {ID: "laptop.1", Class: "tunnel", Kind: "device"},
		}}},
		Sessions: []record.Session{s}, Flows: []record.Flow{f},
	}
	r.Events = append(r.Events, events...)
	return r
}

// TestGoldenPrivate: flows to private networks, and those that policies refuse.
func TestGoldenPrivate(t *testing.T) {
	flow := record.Flow{
		Traffic: "ask", N: 1, Client: "shop.1.till", Server: "db.pg", Proto: "tcp", Src: "10.0.1.5:40000", Dst: "10.9.0.5:5432", OnRamp: "shop.1.wan", IngressDC: "lhr",
		HomeServer: "lhr.1", EgressServer: "lhr.1", EgressIP: "100.64.0.1", EgressPort: 2049, ReturnOnRamp: "shop.1.wan", DeliveredTo: "shop.1.till",
		Result: record.OK, RTTNs: 2e6, StartNs: 1e9, EndNs: 1e9 + 9e6, SessionID: "5e55",
	}
	session := record.Session{SessionID: "5e55", OnRamp: "shop.1.wan", ReturnOnRamp: "shop.1.wan", OffRamp: "db", VNet: "red", Rules: []string{"network known_hosts"}, ConnectionCloseReason: "CLIENT_CLOSED"}
	start := record.Event{AtNs: 1e9 + 1e6, Node: "lhr.1", Kind: "flow_start", Flow: "tcp 10.0.1.5:40000 > 10.9.0.5:5432", OnRamp: "shop.1.wan", SessionID: "5e55"}
	preserved, kept := flow, session
	preserved.EgressIP, preserved.EgressPort, kept.OffRamp = "10.0.1.5", 40000, "laptop.1"
	refused, denied, no := flow, session, start
	refused.EgressIP, refused.EgressPort, refused.EgressServer, refused.ReturnOnRamp, refused.DeliveredTo = "", 0, "", "", ""
	refused.Result, refused.Reason, denied.Rules, denied.Refused = record.Lost, "policy_denied", []string{"firewall no_databases"}, "policy_denied"
	no.Kind, no.Reason = "flow_refused", "policy_denied"
	for file, r := range map[string]*record.Records{
		"translated": flowOf(session, flow, start), "preserved": flowOf(kept, preserved, start), "refused": flowOf(denied, refused, no),
	} {
		t.Run(file, func(t *testing.T) { golden.Equal(t, "testdata/"+file+".txt", []byte(story(r, r.Flows[0]))) })
	}
}

// TestQueries: every form finds the same flow.
func TestQueries(t *testing.T) {
	dir := filepath.Join(fixture.Write(t), fixture.Scenario, "base", fixture.Engine)
	f := fixture.Run("base").Flows[3] // web#1, whose addresses are its own
	want := tellTo(t, dir, "web#1")
	if !strings.HasPrefix(want, "web#1  tcp 10.0.1.5:41001 > 203.0.113.9:443\n") {
		t.Fatalf("web#1 tells another flow:\n%s", want)
	}
	for _, query := range []string{
		"web/1", " web#1 ", f.SessionID, strings.ToUpper(f.SessionID),
		"tcp 10.0.1.5:41001", "10.0.1.5:41001", "TCP 10.0.1.5:41001 > 203.0.113.9:443",
	} {
		if got := tellTo(t, dir, query); got != want {
			t.Errorf("%q tells another story:\n%s", query, got)
		}
	}
}

// TestOneRunKnowsIt: among several runs, what only one of them knows needs no variant.
func TestOneRunKnowsIt(t *testing.T) {
	all := fixture.Write(t)
	others, err := filepath.Glob(filepath.Join(all, fixture.Scenario, "*", fixture.Engine, record.FlowsFile))
	if err != nil || len(others) < 2 {
		t.Fatalf("flows of %v, %v", others, err)
	}
	for _, file := range others {
		if !strings.Contains(file, "routes_only") {
			if err := os.Truncate(file, 0); err != nil {
				t.Fatal(err)
			}
		}
	}
	if got, want := tellTo(t, all, "same#2"), tellTo(t, all, "routes_only:same#2"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestSeveralMatches(t *testing.T) {
	dir := filepath.Join(fixture.Write(t), fixture.Scenario, "base", fixture.Engine)
	got := tellTo(t, dir, "tcp 10.0.1.5:40000")
	for _, want := range []string{`3 flows of variant base match "tcp 10.0.1.5:40000"`, "same#1", "same#2", "same#3", "shop.3.wan"} {
		if !strings.Contains(got, want) {
			t.Errorf("the list lacks %q:\n%s", want, got)
		}
	}
	if got := tellTo(t, dir, "10.0.1.5"); !strings.Contains(got, "36 flows") || !strings.Contains(got, "and 16 more") {
		t.Errorf("a long list is not cut:\n%s", got)
	}
}

func TestErrors(t *testing.T) {
	all := fixture.Write(t)
	one := filepath.Join(all, fixture.Scenario, "base", fixture.Engine)
	empty := t.TempDir()
	tests := []struct {
		name, dir, query string
		is               error
		text             string
	}{
		{"number", one, "same#4", ErrNoFlow, "same has same#1 to same#3"},
		{"traffic", one, "sme#1", ErrNoFlow, `try ping#1, same#1, web#1, or an address such as "tcp 10.0.1.5:40000"`},
		{"protocol", one, "udp 10.0.1.5:40000", ErrNoFlow, "try"},
		{"destination", one, "10.0.1.5:40000 > 203.0.113.9:80", ErrNoFlow, "try"},
		{"session", one, "ffffffffffff", ErrNoFlow, "try"},
		{"empty", one, "", ErrNoFlow, "try"},
		{"unknown variant of one run", one, "bose:same#1", ErrNoFlow, `no variant is called "bose"; say base:same#1`},
		{"which run", all, "same#1", ErrManyRuns, "say which variant: base:same#1, routes_only:same#1"},
		{"unknown variant", all, "bose:same#1", ErrManyRuns, `no variant is called "bose"; say which variant: base:same#1`},
		{"no results", empty, "same#1", record.ErrNoResults, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var b bytes.Buffer
			err := Flow(&b, tt.dir, tt.query)
			if !errors.Is(err, tt.is) || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("got %v, want one that wraps %v and says %q", err, tt.is, tt.text)
			}
			if b.Len() > 0 {
				t.Errorf("it wrote %q although it failed", b.String())
			}
		})
	}
	if err := Flow(brokenPipe{}, one, "same#1"); err == nil || !strings.Contains(err.Error(), "broken pipe") {
		t.Errorf("got %v, want the writer's error", err)
	}
}

type brokenPipe struct{}

func (brokenPipe) Write([]byte) (int, error) { return 0, errors.New("broken pipe") }

// TestOverlap: sites with the same tuple do not borrow each other's events.
func TestOverlap(t *testing.T) {
	f := record.Flow{Traffic: "t", N: 1, Client: "a.1.h", Proto: "tcp", Src: "10.0.0.1:1", Dst: "192.0.2.1:80", OnRamp: "a.1.w", EgressIP: "198.51.100.1", EgressPort: 3000, SessionID: "s1", EndNs: 10}
	other := f
	other.N, other.Client, other.OnRamp, other.EgressPort, other.SessionID = 2, "a.2.h", "a.2.w", 300, "s2"
	run := &record.Records{Flows: []record.Flow{f, other}}
	own := tuple(f)
	tests := []struct {
		name  string
		event record.Event
		want  bool
	}{
		{"its session", record.Event{Flow: own, SessionID: "s1"}, true},
		{"the other's session", record.Event{Flow: own, SessionID: "s2", OnRamp: "a.1.w"}, false},
		{"its on-ramp", record.Event{Flow: own, OnRamp: "a.1.w"}, true},
		{"the other's on-ramp", record.Event{Flow: own, OnRamp: "a.2.w"}, false},
		{"the tuple alone", record.Event{Flow: own}, false},
		{"an origin that saw its egress", record.Event{Flow: own, Kind: "origin", Text: "asked by 198.51.100.1:3000"}, true},
		{"an origin that saw its egress later", record.Event{Flow: own, Kind: "origin", Text: "asked by 198.51.100.1:3000", AtNs: 11}, false},
		{"an origin that saw the other's", record.Event{Flow: own, Kind: "origin", Text: "asked by 198.51.100.1:300"}, false},
		{"a reply to its egress", record.Event{Flow: "tcp 192.0.2.1:80 > 198.51.100.1:3000", AtNs: 5}, true},
		{"a reply to it, later", record.Event{Flow: "tcp 192.0.2.1:80 > 198.51.100.1:3000", AtNs: 11}, false},
		{"a reply from elsewhere", record.Event{Flow: "tcp 192.0.2.10:80 > 198.51.100.1:3000", AtNs: 5}, false},
		{"a reply to the other", record.Event{Flow: "tcp 192.0.2.1:80 > 198.51.100.1:300", AtNs: 5}, false},
		{"nobody's", record.Event{Kind: "drop"}, false},
	}
	for _, tt := range tests {
		if got := (&teller{run: run, flow: f}).about(tt.event); got != tt.want {
			t.Errorf("%s: got %v, want %v", tt.name, got, tt.want)
		}
	}
	alone := &teller{run: &record.Records{Flows: []record.Flow{f}}, flow: f}
	if !alone.about(record.Event{Flow: own}) {
		t.Error("a tuple that only one flow has is not its own")
	}
}

// TestBeforeItBegan: what happened to the same tuple on the same on-ramp before
// the flow began, such as a refusal of somebody else's reply, is not its life.
func TestBeforeItBegan(t *testing.T) {
	run := fixture.Run("base")
	f := run.Flows[1]
	f.SessionID = ""
	run.Events = append(run.Events, record.Event{AtNs: f.StartNs - 1, Kind: "drop", Node: "early", Flow: tuple(f), OnRamp: f.OnRamp, Reason: "orphan"},
		record.Event{AtNs: f.StartNs + 1, Kind: "drop", Node: "later", Flow: tuple(f), OnRamp: f.OnRamp, Reason: "orphan"})
	if got := story(run, f); strings.Contains(got, "early") || !strings.Contains(got, "later") {
		t.Errorf("the story begins too soon, or ends too soon:\n%s", got)
	}
}

// TestCameBy: a flow that came by another line of its own site joined nobody's;
// one that came by another site's did.
func TestCameBy(t *testing.T) {
	for _, tt := range []struct{ planned, session, by, joined string }{
		{"shop.1.wan", "shop.1.wan", "shop.1.wan", ""},
		{"shop.1.wan", "shop.1.backup", "shop.1.backup", ""},
		{"shop.1.wan", "shop.2.wan", "shop.1.wan", "shop.2.wan"},
		{"shop.1.wan", "shop.11.wan", "shop.1.wan", "shop.11.wan"},
	} {
		x := &teller{flow: record.Flow{OnRamp: tt.planned}, session: &record.Session{OnRamp: tt.session}}
		if x.cameBy() != tt.by || x.joined() != tt.joined {
			t.Errorf("planned %s, session by %s: came by %s, joined %q", tt.planned, tt.session, x.cameBy(), x.joined())
		}
	}
}

// TestGaveUp: who got a part of its answer is not told that no host saw a reply.
func TestGaveUp(t *testing.T) {
	for to, want := range map[string]string{"": "no host saw a reply", "a": "not the whole answer"} {
		x := &teller{run: &record.Records{}, flow: record.Flow{Client: "a", DeliveredTo: to, Result: record.Lost, Reason: "timed out"}}
		x.arrival()
		if len(x.steps) != 1 || !strings.Contains(x.steps[0].text, want) {
			t.Errorf("delivered to %q: %+v, want %q", to, x.steps, want)
		}
	}
}

// TestLate: who looks at a flow is told how much of its round trip was its lab's own
// lateness, whose, and when; of what is no more than the spread nobody is.
func TestLate(t *testing.T) {
	f := record.Flow{Traffic: "ask", N: 1, Client: "a", Server: "web", Result: record.OK, StartNs: 1e9, RTTNs: 43e6, EndNs: 2e9}
	for late, want := range map[int64]string{3.1e6: "of its round trip up to 3.1ms are the machine's: lhr.1 came 3.1ms late to packets at 1.020 s\n", 1e5: ""} {
		r := flowOf(record.Session{}, f)
		r.Run.Metrics.Late = map[string]*record.Late{"lhr.1": {LeastNs: 1, Moments: []record.LateMoment{{AtNs: 1.02e9, ForNs: late}}}}
		if got := story(r, f); want != "" && !strings.Contains(got, want) || want == "" && strings.Contains(got, "the machine's") {
			t.Errorf("late by %d: want %q in\n%s", late, want, got)
		}
	}
}

// Every word that a server has for why it hands a packet over is explained.
func TestHandoversAreExplained(t *testing.T) {
	x := &teller{}
	for _, word := range []string{"bucket", "answer", "slice", "second hop", "ports", "share", "relay", "egress", "moved"} {
		if got := x.handover(word, false); !strings.HasPrefix(got, word+": ") {
			t.Errorf("%s: got %q, want what it means", word, got)
		}
	}
}
