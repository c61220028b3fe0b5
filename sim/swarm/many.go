package swarm

import "context"

// Tally is how far a swarm is.
type Tally struct {
	Runs int
	// Seed is the one that runs now, or ran last.
	Seed   uint64
	Events uint64
	Flows  int
	// Sessions were opened, Answered are the flows that were ok.
	Sessions, Answered int
}

// Failure is the first case of a swarm that failed.
type Failure struct {
	Case      *Case
	Violation *Violation
}

// Many runs the cases of one seed after the other, runs of them or until ctx ends,
// and stops at the first that fails. progress hears of each that is over.
func Many(ctx context.Context, from uint64, runs int, o Options, progress func(Tally)) (Tally, *Failure) {
	t := Tally{Seed: from}
	for ; ctx.Err() == nil && (runs == 0 || t.Runs < runs); t.Runs++ {
		t.Seed = from + uint64(t.Runs)
		c := Draw(t.Seed)
		r, v := Run(c, o)
		t.Events += r.Events
		t.Flows += r.Flows
		t.Sessions += r.Sessions
		t.Answered += r.Answered
		if v != nil {
			t.Runs++
			return t, &Failure{c, v}
		}
		if progress != nil {
			progress(t)
		}
	}
	return t, nil
}
