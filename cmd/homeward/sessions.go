package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/homeward-lab/homeward/reports/record"
)

func newSessions() *cobra.Command {
	var where []string
	var asJSON, schema bool
	c := &cobra.Command{
		Use: "sessions DIR", Short: "Print the Network Session Log of a result, or the part of it that matters", GroupID: "run", Args: cobra.MaximumNArgs(1),
		Long: `Sessions reads the session log of the runs in a results directory (--out), or of one
run in it (SCENARIO/VARIANT/ENGINE): a record for every session, also for those that
were refused.

--where FIELD=VALUE keeps the records whose field is that; given several times, all
must hold. Case does not count, * stands for any text, and an empty value for none.`,
		Example: `  homeward sessions out/DIR --where EgressColoName=nrt
  homeward sessions out/DIR --where ConnectionCloseReason='EGRESS_*' --where OriginPort=443
  homeward sessions out/DIR --where EgressRuleName=
  homeward sessions out/DIR --json | jq .EgressIP
  homeward sessions --schema > session.schema.json`,
		RunE: func(cmd *cobra.Command, args []string) error {
			out := cmd.OutOrStdout()
			switch {
			case schema:
				_, err := out.Write(record.SessionSchema())
				return err
			case len(args) == 0:
				return usagef("want a results directory, or --schema")
			}
			filters, err := parseFilters(where)
			if err != nil {
				return usage(err)
			}
			runs, err := runsIn(args[0])
			if err != nil {
				return usage(err)
			}
			return printSessions(out, runs, filters, asJSON)
		},
	}
	fl := c.Flags()
	fl.StringArrayVar(&where, "where", nil, "keep records with FIELD=VALUE")
	fl.BoolVar(&asJSON, "json", false, "one record in JSON per line, all fields")
	fl.BoolVar(&schema, "schema", false, "print the JSON Schema of a record instead")
	return c
}

// filter is a field that must have a value.
type filter struct{ field, pattern string }

func parseFilters(where []string) (all []filter, err error) {
	known := fieldsOf(record.Session{})
	for _, w := range where {
		name, value, ok := strings.Cut(w, "=")
		if !ok {
			return nil, fmt.Errorf("--where %s: want FIELD=VALUE", w)
		}
		i := slices.IndexFunc(known, func(k string) bool { return strings.EqualFold(k, name) })
		if i < 0 {
			return nil, fmt.Errorf("--where %s: a record has no field %q, want one of %s", w, name, strings.Join(known, ", "))
		}
		pattern := strings.ToLower(value)
		if _, err := path.Match(pattern, ""); err != nil {
			return nil, fmt.Errorf("--where %s: %w", w, err)
		}
		all = append(all, filter{known[i], pattern})
	}
	return all, nil
}

// fieldsOf are the names of a record's fields, those that are left out where they
// are empty too.
func fieldsOf(s record.Session) []string {
	s.Refused, s.Incomplete, s.OffRamp, s.VNet, s.EgressServer, s.Rules = "x", "x", "x", "x", "x", []string{"x"}
	var names []string
	for name := range valuesOf(&s) {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// valuesOf are a record's fields as its JSON has them.
func valuesOf(s *record.Session) map[string]any {
	data, err := json.Marshal(s)
	values := map[string]any{}
	if err == nil {
		dec := json.NewDecoder(strings.NewReader(string(data)))
		dec.UseNumber() // times in nanoseconds are larger than a float is exact
		err = dec.Decode(&values)
	}
	if err != nil {
		panic(err) // a struct of text and numbers
	}
	return values
}

func (f filter) keeps(values map[string]any) bool {
	text := ""
	if v, ok := values[f.field]; ok {
		text = strings.ToLower(fmt.Sprint(v))
	}
	match, _ := path.Match(f.pattern, text)
	return match
}

// runsIn are the runs of a results directory, or the one that dir is.
func runsIn(dir string) ([]*record.Records, error) {
	if one, err := record.ReadRun(dir); err == nil {
		return []*record.Records{one}, nil
	}
	all, err := record.Read(filepath.Clean(dir))
	if err != nil {
		return nil, err
	}
	return all.Runs, nil
}

func printSessions(w io.Writer, runs []*record.Records, filters []filter, asJSON bool) error {
	enc := json.NewEncoder(w)
	for _, r := range runs {
		t := table{
			title:  fmt.Sprintf("%s/%s on %s", r.Run.Scenario, r.Run.Variant, r.Run.Engine),
			header: []string{"start", "on-ramp", "protocol", "source", "origin", "colos", "egress", "rule", "sent", "received", "closed"},
		}
		sessions := slices.Clone(r.Sessions)
		slices.SortStableFunc(sessions, func(a, b record.Session) int { return cmp.Compare(a.StartNs, b.StartNs) })
		for i := range sessions {
			s := &sessions[i]
			values := valuesOf(s)
			if slices.ContainsFunc(filters, func(f filter) bool { return !f.keeps(values) }) {
				continue
			}
			if asJSON {
				if err := enc.Encode(s); err != nil {
					return err
				}
				continue
			}
			t.add(time.Duration(s.StartNs).Round(time.Millisecond).String(), s.OnRamp, s.Protocol,
				fmt.Sprintf("%s:%d", s.SourceIP, s.SourcePort), fmt.Sprintf("%s:%d", s.OriginIP, s.OriginPort),
				s.IngressColoName+" → "+s.EgressColoName, egressText(s), s.EgressRuleName,
				fmt.Sprint(s.BytesSent), fmt.Sprint(s.BytesReceived), closeText(s))
		}
		t.print(w, true)
	}
	return nil
}

func egressText(s *record.Session) string {
	if s.EgressIP == "" {
		return ""
	}
	return fmt.Sprintf("%s:%d", s.EgressIP, s.EgressPort)
}

// closeText is why a session ended, or never began, or that its end is unknown.
func closeText(s *record.Session) string {
	switch {
	case s.Incomplete != "":
		return "unknown: " + s.Incomplete
	case s.Refused != "":
		return s.ConnectionCloseReason + " (" + s.Refused + ")"
	}
	return s.ConnectionCloseReason
}
