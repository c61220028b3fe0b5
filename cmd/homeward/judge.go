package main

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/homeward-lab/homeward/reports/check"
	"github.com/homeward-lab/homeward/reports/compare"
	"github.com/homeward-lab/homeward/reports/record"
)

// judgement is what is known of a variant on an engine: of a lab that was run again, what
// all of its tries show together.
type judgement struct {
	summary  record.Summary
	compared *compare.Result // with the simulator; nil of what is not
	tries    int
	// open: another try may show more, of what could not be judged, or of times that fell
	// short on a busy machine; if they do so each time, they have.
	open bool
}

// judge turns runs into verdicts, has labs run again of which something could not be
// judged, as often as --tries says, and drops the captures of runs that hold.
func (s *session) judge(ctx context.Context) (summaries []record.Summary, err error) {
	all := make([]int, len(s.runs))
	for i := range all {
		all[i] = i
	}
	s.judgeEach(ctx, all)
	for try := 2; try <= s.flags.tries && ctx.Err() == nil; try++ {
		again := s.unjudged()
		if len(again) == 0 {
			break
		}
		s.pause(ctx, recovery(try))
		done, failed := s.runAgain(ctx, again, try)
		err = errors.Join(err, failed)
		s.judgeEach(ctx, done)
	}
	err = errors.Join(err, s.out.DropAgain())
	for i, j := range s.judged {
		if r := s.runs[i]; j.summary.Verdict == record.Pass && !s.flags.capture {
			_ = record.DropEvidence(r.dir.Dir())
		}
		summaries = append(summaries, j.summary)
	}
	return summaries, err
}

// recovery is how long a try waits before it begins: from the second on that has the
// machine for itself, longer each time, for what takes its time then is not the command's
// and could else take all that are left.
func recovery(try int) time.Duration {
	const alone = 3 // mostLabs>>alone is one
	if try <= alone {
		return 0
	}
	return 2 * time.Second << (try - alone)
}

// pause waits for d, or until ctx is done.
func (s *session) pause(ctx context.Context, d time.Duration) {
	for end := time.Now().Add(d); time.Now().Before(end) && ctx.Err() == nil; {
		s.screen.progress("machine too busy", "next try in "+time.Until(end).Round(time.Second).String(), 0, 1)
		select {
		case <-ctx.Done():
		case <-time.After(min(time.Second, time.Until(end))):
		}
	}
}

// unjudged are the labs that have run to their end and left something open.
func (s *session) unjudged() (all []int) {
	for i, r := range s.runs {
		if s.engines[i%len(s.engines)].lab && r != nil && r.skip == "" && r.err == nil && s.judged[i].open {
			all = append(all, i)
		}
	}
	return all
}

// runAgain runs labs another time, fewer at once the more often they were tried, and
// says of which there is another run. One whose try fails stays as it was.
func (s *session) runAgain(ctx context.Context, which []int, try int) (done []int, err error) {
	earlier := make(map[int]*finished, len(which))
	var labs []task
	for _, i := range which {
		earlier[i] = s.runs[i]
		labs = append(labs, task{s.variants[i/len(s.engines)], s.engines[i%len(s.engines)], i})
	}
	s.runLabs(ctx, labs, max(1, cmp.Or(s.flags.jobs, mostLabs)>>try), s.out.Again)
	for _, i := range which {
		r := s.runs[i]
		if r == earlier[i] || r.err != nil {
			s.runs[i] = earlier[i]
			continue
		}
		if failed := r.dir.Replace(); failed != nil {
			s.runs[i], err = earlier[i], errors.Join(err, failed)
			continue
		}
		done = append(done, i)
	}
	return done, err
}

// judgeEach judges runs, which are given by their places in order.
func (s *session) judgeEach(ctx context.Context, which []int) {
	by := s.byVariant()
	open := map[*variant]bool{}
	for n, i := range which {
		v := s.variants[i/len(s.engines)]
		s.judgeOne(ctx, i, by)
		open[v] = open[v] || s.judged[i].open
		if last := n+1 == len(which) || s.variants[which[n+1]/len(s.engines)] != v; last && !open[v] {
			v.chanced = chanced{} // they are most of what a command over many variants holds
		}
	}
}

// judgeOne judges the run at a place, with what its earlier tries have shown.
func (s *session) judgeOne(ctx context.Context, place int, by map[of]map[string]*record.Records) {
	k := place % len(s.engines)
	v, e, r, j := s.variants[place/len(s.engines)], s.engines[k], s.runs[place], &s.judged[place]
	sum := record.Summary{Scenario: v.plan.Scenario, Variant: v.plan.Variant, Engine: e.of(v.plan).name, Seed: v.plan.Seed, Fingerprint: v.plan.Fingerprint()}
	switch {
	case r == nil:
		sum.Verdict, sum.Reason = record.Error, "interrupted before it began"
	case r.skip != "":
		sum.Verdict, sum.Reason = record.Skip, r.skip
	case r.err != nil:
		sum.Verdict, sum.Reason = record.Error, r.reason()
	default:
		results := check.EvaluateAll(v.checks, r.records, by[of{v.plan.Scenario, e.name}])
		if k > 0 {
			var c record.CheckResult
			c, j.compared = agreement(ctx, v, s.runs[place-k], r, j.compared)
			results = append(results, c)
		}
		j.tries++
		_, results = check.Judge(results, v.plan.ExpectFail, check.Saturated(r.records))
		sum.Verdict, sum.Checks = check.Together(j.summary.Checks, results)
		j.open = sum.Verdict == record.Error || compare.Busy(r.records) != "" && check.TimesAlone(v.checks, sum.Checks)
		if j.tries > 1 {
			sum.Tries = j.tries
		}
	}
	if r != nil {
		sum.WallMs = r.wall.Milliseconds()
		if r.records != nil {
			sum.Fingerprint = r.records.Run.Fingerprint
		}
	}
	j.summary = sum
}

// of is a scenario on an engine.
type of struct{ scenario, engine string }

// byVariant are the complete runs: what checks that compare variants look at.
func (s *session) byVariant() map[of]map[string]*record.Records {
	by := map[of]map[string]*record.Records{}
	for i, v := range s.variants {
		for k, e := range s.engines {
			if r := s.of(i, k); r != nil && r.err == nil && r.records != nil {
				key := of{v.plan.Scenario, e.name}
				if by[key] == nil {
					by[key] = map[string]*record.Records{}
				}
				by[key][v.plan.Variant] = r.records
			}
		}
	}
	return by
}
