// Package explain tells the life of one flow as a numbered story: each hop,
// each decision, and why.
//
// It reads records and knows no engine. What a server did not record it does
// not invent: a missing step is missing from the story. Its law: every number
// and name in the story is in the records.
package explain

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/homeward-lab/homeward/reports/record"
)

var (
	// ErrNoFlow is wrapped when no flow matches the query.
	ErrNoFlow = errors.New("no such flow")
	// ErrManyRuns is wrapped when the directory holds several runs and the
	// query does not say which.
	ErrManyRuns = errors.New("several runs")
)

// Flow writes the life of the flow that query names to w. dir is a run's
// directory, or an output directory; if several runs in that know such a flow,
// the query starts with the variant: "routes_only:same#1". Forms of the query:
//
//	same#1, same/1         the traffic's flow by number
//	1d0c…                  a session id, or its first 6 or more digits
//	tcp 10.0.1.5:40000     protocol and source; either may be left out
//	10.0.1.5:40000 > …     with " > destination" too
//
// If several flows match an address, they are listed instead. Errors wrap
// ErrNoFlow (with suggestions), ErrManyRuns, or record.ErrNoResults.
func Flow(w io.Writer, dir, query string) error {
	run, query, err := open(dir, strings.TrimSpace(query))
	if err != nil {
		return err
	}
	found := find(run, query)
	switch len(found) {
	case 0:
		return fmt.Errorf("%w: %q in %s; %s", ErrNoFlow, query, run.Dir, suggestions(run, query))
	case 1:
		return write(w, story(run, found[0]))
	}
	return write(w, list(run, query, found))
}

func write(w io.Writer, text string) error {
	if _, err := io.WriteString(w, text); err != nil {
		return fmt.Errorf("explain: %w", err)
	}
	return nil
}

// open reads the run that dir and query mean, and returns the query without
// the variant.
func open(dir, query string) (*record.Records, string, error) {
	all, err := runsIn(dir)
	if err != nil {
		return nil, "", err
	}
	runs, unknown := all, ""
	if variant, rest, ok := strings.Cut(query, ":"); ok && !strings.ContainsAny(variant, " .") {
		if some := slices.DeleteFunc(slices.Clone(runs), func(r *record.Records) bool { return r.Run.Variant != variant }); len(some) > 0 {
			runs, query = some, strings.TrimSpace(rest)
		} else if strings.Contains(rest, "#") {
			unknown, query = fmt.Sprintf("no variant is called %q; ", variant), strings.TrimSpace(rest)
		}
	}
	if some := slices.DeleteFunc(slices.Clone(runs), func(r *record.Records) bool { return len(find(r, query)) == 0 }); len(some) == 1 && unknown == "" {
		return some[0], query, nil // only one of them knows such a flow
	}
	switch len(runs) {
	case 0:
		return nil, "", fmt.Errorf("%s: %w", dir, record.ErrNoResults)
	case 1:
		if unknown != "" {
			return nil, "", fmt.Errorf("%s: %w: %ssay %s:%s", dir, ErrNoFlow, unknown, runs[0].Run.Variant, query)
		}
		return runs[0], query, nil
	}
	var names, dirs []string
	for _, r := range runs {
		names = append(names, r.Run.Variant+":"+query)
		dirs = append(dirs, r.Dir)
	}
	if len(all) == len(runs) && distinct(names) {
		return nil, "", fmt.Errorf("%s: %w: %ssay which variant: %s", dir, ErrManyRuns, unknown, strings.Join(names, ", "))
	}
	return nil, "", fmt.Errorf("%s: %w: give the directory of one: %s", dir, ErrManyRuns, strings.Join(dirs, ", "))
}

func distinct(names []string) bool {
	sorted := slices.Clone(names)
	slices.Sort(sorted)
	return len(slices.Compact(sorted)) == len(names)
}
