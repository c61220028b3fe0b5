//go:build linux

package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/homeward-lab/homeward/internal/need"
	"github.com/homeward-lab/homeward/reports/compare"
	"github.com/homeward-lab/homeward/reports/record"
	simrun "github.com/homeward-lab/homeward/sim/run"
	"github.com/homeward-lab/homeward/topologies/spec"
)

// What TestSoakAgreement does, beside HOMEWARD_SOAK.
const (
	// agreeEnv is which repetitions, each of all scenarios: FROM-TO.
	agreeEnv = "HOMEWARD_SOAK_AGREE"
	// agreeJobsEnv is how many labs run at once, by default as many as there is
	// processor time for. What could not be judged then is asked again alone.
	agreeJobsEnv = "HOMEWARD_SOAK_JOBS"
	// agreeLogEnv is a file that outcomes are added to and the table is of, so that
	// it holds what was found before a soak was taken up again.
	agreeLogEnv = "HOMEWARD_SOAK_LOG"
)

const agreeTries = 6

// agreeInBrief are the scenarios whose base TestSoakAgreement's short form runs on
// every engine.
func agreeInBrief() []string {
	return []string{"branch_failover", "coffee_shops", "dedicated_egress", "geofence", "interconnect", "ipv6_branches", "merger", "overlapping_branches", "path_mtu", "port_exhaustion", "private_datacenter", "soft_unicast"}
}

// outcome is what came of one lab beside the simulator in one round, after so many
// tries.
type outcome struct {
	Round                     int
	Scenario, Variant, Engine string
	Verdict                   record.Verdict
	Tries                     int
	// Why it did not pass; of one that did, what of it hung on moments.
	Why string `json:",omitempty"`
}

// Simulator and labs agree on every scenario and variant that is shipped, each
// time: 20 times over all of them, in short once over some files as they are. What
// could not be judged, because the machine had no time for a lab, is asked again, and
// is no agreement if it never can be.
func TestSoakAgreement(t *testing.T) {
	need.Root(t)
	before := machine(t)
	args, names := []string{"--variant", spec.Base}, agreeInBrief()
	if soak() {
		args, names = nil, labScenarios(t)
	}
	log := outcomes(t)
	inRow(t, agreeEnv, times(1, 20), func(i int, _ *rand.Rand) string {
		round, parts, began := i+1, map[string]time.Duration{}, time.Now()
		all := agreements(t, round, names, args, parts)
		parts["in all"] = time.Since(began)
		log.add(t, all)
		counts, again := map[record.Verdict]int{}, 0
		for _, o := range all {
			if o.Tries > 1 {
				again++
			}
			if counts[o.Verdict]++; o.Verdict != record.Pass {
				t.Errorf("round %d, %s/%s on %s: %s: %s", o.Round, o.Scenario, o.Variant, o.Engine, o.Verdict, o.Why)
			}
		}
		return fmt.Sprintf("round %d: of %d labs %d agree, %d differ, %d not judged; %d needed more than one try; seconds by part: %s", round, len(all), counts[record.Pass], counts[record.Fail], counts[record.Error], again, inParts(parts))
	})
	t.Logf("rounds by scenario and variant, of both labs\n%s", log.table())
	clean(t, before)
}

// agreements runs scenarios on every engine, and again what could not be judged.
func agreements(t *testing.T, round int, names, args []string, parts map[string]time.Duration) (all []outcome) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "out")
	run := slices.Concat([]string{"run", "--on", "both", "--out", dir, "--jobs", cmp.Or(os.Getenv(agreeJobsEnv), "0"), "--tries", strconv.Itoa(agreeTries)}, names, args)
	out, err := homeward(run...).CombinedOutput()
	summaries, unread := readSummaries(dir)
	if unread != nil || len(summaries) == 0 {
		t.Fatalf("%s: %v, %v\n%s", strings.Join(run, " "), err, unread, out)
	}
	for _, s := range summaries {
		if s.Engine != simrun.Engine || s.Verdict != record.Pass {
			all = append(all, outcome{round, s.Scenario, s.Variant, s.Engine, s.Verdict, max(1, s.Tries), explained(dir, &s)})
		}
	}
	spent(dir, parts)
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	return all
}

// explained is why a run did not pass, and of a disagreement what there is to know:
// each difference in a line.
func explained(dir string, s *record.Summary) string {
	if s.Verdict == record.Pass {
		i := slices.IndexFunc(s.Checks, func(c record.CheckResult) bool { return c.ID == compare.Agreement(simrun.Engine) })
		return s.Checks[max(i, 0)].Detail
	}
	why := []string{s.Reason}
	for _, c := range s.Checks {
		if c.Verdict == s.Verdict {
			why = append(why, c.ID+": "+c.Detail)
		}
	}
	base := filepath.Join(dir, s.Scenario, s.Variant)
	if out, _ := homeward("diff", filepath.Join(base, simrun.Engine), filepath.Join(base, s.Engine)).CombinedOutput(); s.Engine != simrun.Engine {
		lines := strings.Split(strings.TrimSpace(string(out)), "\n")
		why = append(why, lines[:min(len(lines), 12)]...)
	}
	return strings.Join(slices.DeleteFunc(why, func(l string) bool { return strings.TrimSpace(l) == "" }), "\n")
}

// spent adds to parts where the time of a command went: in labs going up, waiting for
// their turn, sending their traffic, and going down.
func spent(dir string, parts map[string]time.Duration) {
	results, err := record.Read(dir)
	if err != nil {
		return
	}
	for _, r := range results.Runs {
		wall, up := time.Duration(r.Run.WallMs)*time.Millisecond, time.Duration(r.Run.Metrics.UpMs)*time.Millisecond
		if r.Run.Engine == simrun.Engine {
			parts["simulations"] += wall
			continue
		}
		at := map[string]time.Duration{}
		for _, e := range r.Events {
			switch now := time.Duration(e.AtNs); {
			case e.Kind == "traffic" && at["begin"] == 0:
				at["begin"] = now
			case e.Kind == "traffic":
				at["end"] = now
			case e.Kind == "run" && at["end"] > 0 && at["down"] == 0:
				at["down"] = now
			}
		}
		parts["labs up"] += up
		parts["traffic"] += at["end"] - at["begin"]
		parts["labs waiting"] += at["begin"] - up + at["down"] - at["end"]
		parts["labs down"] += wall - at["down"]
	}
}

// inParts are the seconds of each part. Labs that ran at once count each.
func inParts(parts map[string]time.Duration) string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(parts)) {
		all = append(all, fmt.Sprintf("%s %.1f", name, parts[name].Seconds()))
	}
	return strings.Join(all, ", ")
}

// outcomeLog are the outcomes of all rounds, those of a file first.
type outcomeLog struct {
	path string
	all  []outcome
}

func outcomes(t *testing.T) *outcomeLog {
	t.Helper()
	l := &outcomeLog{path: os.Getenv(agreeLogEnv)}
	if l.path == "" {
		return l
	}
	data, err := os.ReadFile(l.path)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		var o outcome
		if err := json.Unmarshal([]byte(line), &o); err != nil {
			t.Fatalf("%s: %v in %q", l.path, err, line)
		}
		l.all = append(l.all, o)
	}
	return l
}

func (l *outcomeLog) add(t *testing.T, more []outcome) {
	t.Helper()
	l.all = append(l.all, more...)
	if l.path == "" {
		return
	}
	f, err := os.OpenFile(l.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, o := range more {
		if err := json.NewEncoder(f).Encode(o); err != nil {
			t.Fatal(err)
		}
	}
}

// table is how often each variant agreed, and what was said of it where not.
func (l *outcomeLog) table() string {
	counts := map[string]map[record.Verdict]int{}
	allowed := map[string]map[int]int{} // agreements, by how many simulations it took
	why := map[string][]string{}
	for _, o := range l.all {
		key := o.Scenario + "/" + o.Variant
		if counts[key] == nil {
			counts[key], allowed[key] = map[record.Verdict]int{}, map[int]int{}
		}
		for _, n := range []int{chances + 1, 2*chances + 1} {
			if o.Verdict == record.Pass && strings.Contains(o.Why, fmt.Sprintf("of %d simulations", n)) {
				allowed[key][n]++
			}
		}
		if counts[key][o.Verdict]++; o.Verdict != record.Pass {
			why[key] = append(why[key], fmt.Sprintf("  round %d on %s: %s", o.Round, o.Engine, strings.ReplaceAll(o.Why, "\n", "\n    ")))
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%-44s %7s %10s %10s %7s %10s\n", "", "agreed", "by moments", "or slower", "differ", "not judged")
	for _, key := range slices.Sorted(maps.Keys(counts)) {
		c := counts[key]
		fmt.Fprintf(&b, "%-44s %7d %10d %10d %7d %10d\n", key, c[record.Pass], allowed[key][chances+1], allowed[key][2*chances+1], c[record.Fail], c[record.Error])
	}
	for _, key := range slices.Sorted(maps.Keys(why)) {
		fmt.Fprintf(&b, "%s\n%s\n", key, strings.Join(why[key], "\n"))
	}
	return b.String()
}

// The table tells agreements, differences with what was said of them, and what could
// not be judged, of this run and of those that it goes on from.
func TestAgreementTable(t *testing.T) {
	t.Setenv(agreeLogEnv, filepath.Join(t.TempDir(), "log"))
	outcomes(t).add(t, []outcome{{1, "a", "base", "emu-hub", record.Pass, 1, ""}, {1, "a", "base", "emu-ebpf", record.Fail, 1, "other\nserver"}})
	l := outcomes(t)
	l.add(t, []outcome{{2, "a", "base", "emu-hub", record.Pass, 2, "moments among those of 9 simulations"}, {2, "a", "two", "emu-hub", record.Error, 4, "no time"}})
	got := strings.Join(strings.Fields(l.table()), " ")
	if want := "agreed by moments or slower differ not judged a/base 2 1 0 1 0 a/two 0 0 0 0 1 a/base round 1 on emu-ebpf: other server a/two round 2 on emu-hub: no time"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// labScenarios are those of soak that labs can run.
func labScenarios(t *testing.T) []string {
	t.Helper()
	var names []string
	for _, name := range soaked(t) {
		v, _, err := oneVariant(name, spec.Base, nil)
		if err != nil {
			t.Fatal(err)
		}
		if len(ebpfEngine().refused(v.plan)) == 0 {
			names = append(names, name)
		}
	}
	return names
}
