package explain

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/homeward-lab/homeward/reports/record"
)

// name is how a flow is asked for.
func name(f record.Flow) string { return fmt.Sprintf("%s#%d", f.Traffic, f.N) }

// tuple is a flow as events write it.
func tuple(f record.Flow) string { return f.Proto + " " + f.Src + " > " + f.Dst }

// find lists the flows that the query means, in recorded order.
func find(run *record.Records, query string) []record.Flow {
	var found []record.Flow
	for _, f := range run.Flows {
		if matches(f, query) {
			found = append(found, f)
		}
	}
	return found
}

func matches(f record.Flow, query string) bool {
	if traffic, n, ok := cutNumber(query); ok {
		return f.Traffic == traffic && f.N == n
	}
	if isSession(query) {
		return f.SessionID != "" && strings.HasPrefix(f.SessionID, strings.ToLower(query))
	}
	front, dst, hasDst := strings.Cut(query, ">")
	words := strings.Fields(front)
	if len(words) == 0 || len(words) > 2 || hasDst && strings.TrimSpace(dst) != f.Dst {
		return false
	}
	src := words[len(words)-1]
	if len(words) == 2 && !strings.EqualFold(words[0], f.Proto) {
		return false
	}
	host := f.Src[:max(strings.LastIndexByte(f.Src, ':'), 0)]
	return src == f.Src || src == host || src == f.Client
}

// cutNumber reads "same#1" or "same/1".
func cutNumber(query string) (traffic string, n int, ok bool) {
	i := strings.LastIndexAny(query, "#/")
	if i <= 0 {
		return "", 0, false
	}
	n, err := strconv.Atoi(query[i+1:])
	return query[:i], n, err == nil
}

// isSession: hexadecimal digits, enough of them to be no traffic's name by chance.
func isSession(query string) bool {
	return len(query) >= 6 && len(query) <= 32 && strings.Trim(strings.ToLower(query), "0123456789abcdef") == ""
}

// list shows flows to choose from.
func list(run *record.Records, query string, found []record.Flow) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d flows of variant %s match %q. Ask for one of them:\n", len(found), run.Run.Variant, query)
	const most = 20
	for _, f := range found[:min(most, len(found))] {
		fmt.Fprintf(&b, "  %-10s %s from %s by %s: %s\n", name(f), tuple(f), f.Client, orUnknown(f.OnRamp), f.Result)
	}
	if len(found) > most {
		fmt.Fprintf(&b, "  and %d more\n", len(found)-most)
	}
	return b.String()
}

func orUnknown(onramp string) string { return cmp.Or(onramp, "an unknown on-ramp") }

// suggestions says what could have been asked for.
func suggestions(run *record.Records, query string) string {
	if len(run.Flows) == 0 {
		return "the run recorded no flow"
	}
	if traffic, _, ok := cutNumber(query); ok {
		first, last, n := 0, 0, 0
		for _, f := range run.Flows {
			if f.Traffic != traffic {
				continue
			}
			if n == 0 {
				first, last = f.N, f.N
			}
			first, last, n = min(first, f.N), max(last, f.N), n+1
		}
		if n > 0 {
			return fmt.Sprintf("%s has %s#%d to %s#%d", traffic, traffic, first, traffic, last)
		}
	}
	examples := map[string]string{}
	var ids []string
	for _, f := range run.Flows {
		if examples[f.Traffic] == "" {
			examples[f.Traffic] = name(f)
			ids = append(ids, f.Traffic)
		}
	}
	slices.Sort(ids)
	const most = 5
	var texts []string
	for _, id := range ids[:min(most, len(ids))] {
		texts = append(texts, examples[id])
	}
	return fmt.Sprintf("try %s, or an address such as %q", strings.Join(texts, ", "), run.Flows[0].Proto+" "+run.Flows[0].Src)
}

// mostNames bounds Names: more would be a wall of text.
const mostNames = 200

// Names lists what Flow takes as its query and begins with typed: flows by
// traffic and number, behind their variant if the directory holds several, and
// the variants themselves ("base:") until one is chosen. At most 200.
func Names(dir, typed string) ([]string, error) {
	var names []string
	runs, err := runsIn(dir)
	if err != nil {
		return nil, err
	}
	for _, r := range runs {
		prefix := ""
		if len(runs) > 1 {
			prefix = r.Run.Variant + ":"
			if !strings.HasPrefix(typed, prefix) {
				if strings.HasPrefix(prefix, typed) && !slices.Contains(names, prefix) {
					names = append(names, prefix)
				}
				continue
			}
		}
		for _, f := range r.Flows {
			if n := prefix + name(f); strings.HasPrefix(n, typed) && len(names) < mostNames {
				names = append(names, n)
			}
		}
	}
	return names, nil
}

// runsIn are the runs of an output directory, or the one whose directory it is.
func runsIn(dir string) ([]*record.Records, error) {
	if _, err := os.Stat(filepath.Join(dir, record.ManifestFile)); err == nil {
		run, err := record.ReadRun(dir)
		return []*record.Records{run}, err
	}
	all, err := record.Read(dir)
	if err != nil {
		return nil, err
	}
	return all.Runs, nil
}
