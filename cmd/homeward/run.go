package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/homeward-lab/homeward/reports/check"
	"github.com/homeward-lab/homeward/reports/html"
	"github.com/homeward-lab/homeward/reports/junit"
	"github.com/homeward-lab/homeward/reports/record"
	"github.com/homeward-lab/homeward/topologies/plan"
)

type runFlags struct {
	on       string
	out      string
	junit    string
	seed     uint64
	sets     []string
	variants []string
	keep     bool
	capture  bool
	timeout  time.Duration
	jobs     int
	tries    int
	io       string
	wire     string
	speaker  string
}

func newRun() *cobra.Command {
	var f runFlags
	c := &cobra.Command{
		Use: "run SCENARIO...", Short: "Run scenarios, judge their checks, write a report", GroupID: "run", Args: cobra.MinimumNArgs(1), ValidArgsFunction: completeScenarios(0),
		Long: `Run builds each variant of each scenario, sends its traffic, judges its checks
and writes a report. SCENARIO is a file, or the name of a shipped scenario
(homeward list).

--on chooses the engine. emu is a lab of network namespaces, with real TCP and
real packets: emu-ebpf, whose kernel carries flows once the hub has set them up,
or where that does not work emu-hub, whose hub decides every packet. sim is the
same hub in virtual time, which needs no rights and no Linux and gives the same
result on every machine. both runs each variant on sim and every lab that can run
here, and fails where they disagree. emu-nftables has servers made by a script of
homeward export --to nftables, for comparison.

A lab creates nothing in the host's own network, and leaves nothing behind, also
after Ctrl-C or kill -9.

Exit codes: 0 all checks hold, 1 a check fell short, 2 bad usage or file,
3 this machine or engine lacks something, 4 only skips, 5 a check could not be
judged, 130 interrupted.`,
		Example: `  sudo homeward run overlapping_branches
  homeward run overlapping_branches --on sim
  sudo homeward run topologies/*.yaml --on both
  sudo homeward run my.yaml --out results --variant base --capture
  sudo homeward run topologies/*.yaml --jobs 0 --tries 6 --junit out.xml
  sudo homeward run overlapping_branches --set shop.count=10 --set same.response=1MiB
  sudo homeward run overlapping_branches --variant base --keep     # stay, look around, Ctrl-C`,
		RunE: func(cmd *cobra.Command, args []string) error { return run(cmd, args, f) },
	}
	fl := c.Flags()
	fl.StringVar(&f.on, "on", "emu", "engine: emu (a lab, the best dataplane here), emu-hub, emu-ebpf, emu-nftables, sim (virtual time), both (sim and every lab, which must agree)")
	fl.StringVarP(&f.out, "out", "o", "", "results directory, new or empty (default out/<time>-<name>)")
	fl.StringVar(&f.junit, "junit", "", "also write JUnit XML here")
	fl.Uint64Var(&f.seed, "seed", 0, "seed instead of the file's")
	fl.StringArrayVar(&f.sets, "set", nil, "change the file: SELECTOR=VALUE, may be repeated")
	fl.StringArrayVar(&f.variants, "variant", nil, "run this variant alone, may be repeated")
	fl.BoolVar(&f.keep, "keep", false, "keep the lab up after its traffic, until Ctrl-C (one variant)")
	fl.BoolVar(&f.capture, "capture", false, "keep packets, flow tables and logs of every run, not of failed ones alone")
	fl.DurationVar(&f.timeout, "timeout", 10*time.Minute, "give up on one variant after this")
	fl.IntVarP(&f.jobs, "jobs", "j", 1, "runs at once; 0 for as many labs as there is processor time for")
	fl.IntVar(&f.tries, "tries", 3, "run a lab again, up to so many times in all, of which something cannot be judged, or takes too long, because the machine had no time for it; fewer at once each time, and from the fourth on after a pause")
	fl.StringVar(&f.io, "io", "", "how packets move: vnet (superpackets, tunnels by tcx), plain (no eBPF at all) or xdp (AF_XDP, for rates of small packets); default the best here")
	fl.StringVar(&f.wire, "wire", "", wireUsage)
	fl.StringVar(&f.speaker, "speaker", "", "who speaks BGP for a lab's routers, where the file has transit: gobgp (default) or bird")
	_ = c.RegisterFlagCompletionFunc("speaker", cobra.FixedCompletions(speakers(), cobra.ShellCompDirectiveNoFileComp))
	_ = c.RegisterFlagCompletionFunc("wire", cobra.FixedCompletions(wireWords, cobra.ShellCompDirectiveNoFileComp))
	_ = c.RegisterFlagCompletionFunc("variant", completeVariants)
	_ = c.RegisterFlagCompletionFunc("io", cobra.FixedCompletions(ioWords(), cobra.ShellCompDirectiveNoFileComp))
	_ = c.MarkFlagDirname("out")
	_ = c.RegisterFlagCompletionFunc("on", cobra.FixedCompletions(onWords, cobra.ShellCompDirectiveNoFileComp))
	return c
}

func run(cmd *cobra.Command, args []string, f runFlags) error {
	engines, err := enginesFor(f.on, f.io)
	if err != nil {
		return err
	}
	if err := f.check(engines); err != nil {
		return err
	}
	switch chosen := cmd.Flags().Changed("tries"); {
	case chosen && f.tries > 1 && !lab(engines):
		return usagef("--tries is of labs, a simulation is the same each time: want --on emu or both")
	case chosen && f.tries > 1 && f.keep:
		return usagef("--keep keeps the lab that ran: it has one try")
	case f.keep:
		f.tries = 1
	}
	variants, err := prepareAll(args, f)
	if err != nil {
		return err
	}
	if f.keep && len(variants) != 1 {
		return usagef("--keep keeps one lab; choose with --variant (there are %d runs)", len(variants))
	}
	if done, err := ready(cmd, engines, variants); done || err != nil {
		return err
	}
	for _, v := range variants {
		if err := checkWire(f.wire, v.plan); err != nil {
			return err
		}
	}
	if err := writable(f.junit); err != nil {
		return usagef("--junit: %w", err)
	}
	begin(cmd.Context())
	if f.out == "" {
		f.out = filepath.Join("out", time.Now().Format("20060102-150405")+"-"+variants[0].plan.Scenario)
	}
	out, err := record.Create(f.out)
	if err != nil {
		return usage(err)
	}
	defer out.Close()

	s := &session{flags: f, engines: engines, out: out, screen: newScreen(cmd.ErrOrStderr()), variants: variants}
	s.runs = make([]*finished, len(variants)*len(engines))
	s.judged = make([]judgement, len(s.runs))
	s.runAll(cmd.Context())
	return s.finish(cmd)
}

// check refuses flags that do not go together.
func (f *runFlags) check(engines []engine) error {
	switch {
	case !knownIO(f.io):
		return usagef("--io %s: want vnet, plain or xdp", f.io)
	case f.jobs < 0 || f.timeout <= 0 || f.tries < 1:
		return usagef("--jobs must not be negative, and --timeout and --tries be positive")
	case f.keep && (len(engines) != 1 || !engines[0].lab):
		return usagef("--keep keeps a lab: want --on emu")
	case f.capture && !lab(engines):
		return usagef("--capture is of a lab's packets: want --on emu or both")
	case f.speaker != "" && !lab(engines):
		return usagef("--speaker is of a lab's routers: want --on emu or both")
	case f.wire != "" && !lab(engines):
		return usagef("--wire is of a lab's links: want --on emu or both")
	case f.io != "" && !lab(engines):
		return usagef("--io is how a lab's packets move: want --on emu or both")
	}
	return checkSpeaker(f.speaker)
}

// wireWords are the engines of impaired links, the default first.
var wireWords = []string{"pump", "netem"}

const wireUsage = "who delays and loses packets on impaired links: pump (default, the same packets for the same seed) or netem (the kernel's, where it has it)"

// checkWire refuses an engine of impaired links that there is not, that the
// machine lacks, or that cannot do what the plans ask.
func checkWire(kind string, plans ...*plan.Plan) error {
	if kind == "" {
		return nil
	}
	if !slices.Contains(wireWords, kind) {
		return usagef("--wire %s: want %s", kind, strings.Join(wireWords, " or "))
	}
	for _, p := range plans {
		if err := wireRefuses(kind, p); err != nil {
			return usage(fmt.Errorf("--wire %s: %w", kind, err))
		}
	}
	if err := wirePossible(kind); err != nil {
		return lacking(fmt.Errorf("--wire %s: %w; --wire pump does without", kind, err))
	}
	return nil
}

// checkSpeaker refuses who speaks no BGP, or is not installed.
func checkSpeaker(kind string) error {
	if kind == "" {
		return nil
	}
	if !slices.Contains(speakers(), kind) {
		return usagef("--speaker %s: want %s", kind, strings.Join(speakers(), " or "))
	}
	if err := speakable(kind); err != nil {
		return lacking(err)
	}
	return nil
}

func prepareAll(args []string, f runFlags) ([]*variant, error) {
	c, err := parseChanges(f.sets, f.seed, f.variants)
	if err != nil {
		return nil, err
	}
	var all []*variant
	var bad []error
	from := map[string]string{}
	for _, name := range args {
		doc, err := open(name)
		if err != nil {
			bad = append(bad, err)
			continue
		}
		if other, clash := from[doc.Spec.Name]; clash {
			bad = append(bad, fmt.Errorf("%s and %s are both named %s: their results would share a directory", other, name, doc.Spec.Name))
			continue
		}
		from[doc.Spec.Name] = name
		vs, err := prepare(doc, c)
		if err != nil {
			bad = append(bad, err)
		}
		all = append(all, vs...)
	}
	if len(bad) > 0 {
		return nil, usage(errors.Join(bad...))
	}
	return all, nil
}

// session is one `homeward run`.
type session struct {
	flags    runFlags
	engines  []engine
	out      *record.Out
	screen   *screen
	variants []*variant
	// runs of the first variant on each engine, then of the next, and what they show.
	runs   []*finished
	judged []judgement
}

// of is what came of a variant on an engine, nil if it never began.
func (s *session) of(variant, engine int) *finished { return s.runs[variant*len(s.engines)+engine] }

// finished is what came of one variant.
type finished struct {
	records *record.Records
	dir     *record.RunDir // nil of what has not begun
	err     error
	skip    string
	wall    time.Duration
}

// reason is why a run has no verdict, and that there are results yet.
func (f *finished) reason() string {
	if f.records != nil && f.records.Run.Partial {
		return f.err.Error() + "; its results are partial"
	}
	return f.err.Error()
}

// runOne runs a variant on an engine, in a directory that open makes.
func (s *session) runOne(ctx context.Context, v *variant, e engine, turn turnFunc, open openFunc) *finished {
	f := &finished{}
	e = e.of(v.plan)
	name := v.plan.Scenario + "/" + v.plan.Variant
	if len(s.engines) > 1 {
		name += " on " + e.name
	}
	if f.skip = e.missing(v.plan.Needs); f.skip != "" {
		return f
	}
	if f.dir, f.err = open(v.plan.Scenario, v.plan.Variant, e.name); f.err != nil {
		return f
	}
	memory := &record.Memory{}
	limited, a := s.allow(ctx)
	defer a.end()
	f.err = e.run(limited, s, v, f.dir.Dir(), a.around(turn), record.Tee(f.dir, memory, s.screen.sink(name)))
	if err := f.dir.Close(); err != nil && f.err == nil {
		f.err = err
	}
	f.records = memory.Records()
	f.wall = a.spent()
	return f
}

// openFunc is record.Out's Run or Again.
type openFunc func(scenario, variant, engine string) (*record.RunDir, error)

// finish judges, writes the reports and says how it went.
func (s *session) finish(cmd *cobra.Command) error {
	summaries, err := s.judge(cmd.Context())
	reports := errors.Join(err, s.report(summaries))
	printVerdicts(cmd.OutOrStdout(), summaries)
	if reports != nil {
		return judgeless(reports)
	}
	fmt.Fprintf(cmd.OutOrStdout(), "\nReport: %s\n", filepath.Join(s.out.Dir(), "report.html"))
	if cmd.Context().Err() != nil && !s.kept() {
		return &exit{code: exitInterrupted}
	}
	if code := check.ExitCode(summaries); code != exitOK {
		return &exit{code: code}
	}
	return nil
}

// kept says that the lab was kept, and its run complete before the user ended it.
func (s *session) kept() bool {
	return s.flags.keep && s.runs[0] != nil && s.runs[0].err == nil
}

// report writes what is made of the verdicts and records.
func (s *session) report(summaries []record.Summary) error {
	if err := s.out.Summaries(summaries...); err != nil {
		return err
	}
	var xml, page bytes.Buffer
	results, err := record.Read(s.out.Dir())
	if err == nil {
		err = html.Write(&page, results)
	}
	err = errors.Join(err, junit.Write(&xml, summaries))
	err = errors.Join(err, s.out.WriteFile("junit.xml", xml.Bytes()), s.out.WriteFile("report.html", page.Bytes()))
	if s.flags.junit != "" {
		err = errors.Join(err, os.WriteFile(s.flags.junit, xml.Bytes(), 0o644))
	}
	return err
}

// writable says whether a file can be written, and leaves what is in it alone.
func writable(path string) error {
	if path == "" {
		return nil
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	return f.Close()
}
