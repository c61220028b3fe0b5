package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/homeward-lab/homeward/emu/agent"
	emurun "github.com/homeward-lab/homeward/emu/run"
	"github.com/homeward-lab/homeward/reports/check"
	"github.com/homeward-lab/homeward/reports/html"
	"github.com/homeward-lab/homeward/reports/junit"
	"github.com/homeward-lab/homeward/reports/record"
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
	io       string
}

func newRun() *cobra.Command {
	var f runFlags
	c := &cobra.Command{
		Use: "run SCENARIO...", Short: "Run scenarios, judge their checks, write a report", GroupID: "run", Args: cobra.MinimumNArgs(1), ValidArgsFunction: completeScenarios(0),
		Long: `Run builds each variant of each scenario as a lab of network namespaces, sends
its traffic, judges its checks and writes a report. SCENARIO is a file, or the
name of a shipped scenario (homeward list).

Nothing is created in the host's own network, and nothing is left behind, also
after Ctrl-C or kill -9.

Exit codes: 0 all checks hold, 1 a check fell short, 2 bad usage or file,
3 this machine or engine lacks something, 4 only skips, 5 a check could not be
judged, 130 interrupted.`,
		Example: `  sudo homeward run overlapping_branches
  sudo homeward run my.yaml --out results --variant base --capture
  sudo homeward run topologies/*.yaml --jobs 2 --junit out.xml
  sudo homeward run overlapping_branches --set shop.count=10 --set same.response=1MiB
  sudo homeward run overlapping_branches --variant base --keep     # stay, look around, Ctrl-C`,
		RunE: func(cmd *cobra.Command, args []string) error { return run(cmd, args, f) },
	}
	fl := c.Flags()
	fl.StringVar(&f.on, "on", "emu", "engine: emu (the best dataplane here), emu-hub, emu-ebpf, sim, both")
	fl.StringVarP(&f.out, "out", "o", "", "results directory, new or empty (default out/<time>-<name>)")
	fl.StringVar(&f.junit, "junit", "", "also write JUnit XML here")
	fl.Uint64Var(&f.seed, "seed", 0, "seed instead of the file's")
	fl.StringArrayVar(&f.sets, "set", nil, "change the file: SELECTOR=VALUE, may be repeated")
	fl.StringArrayVar(&f.variants, "variant", nil, "run this variant alone, may be repeated")
	fl.BoolVar(&f.keep, "keep", false, "keep the lab up after its traffic, until Ctrl-C (one variant)")
	fl.BoolVar(&f.capture, "capture", false, "keep capture.pcapng of every run, not of failed ones alone")
	fl.DurationVar(&f.timeout, "timeout", 10*time.Minute, "give up on one variant after this")
	fl.IntVarP(&f.jobs, "jobs", "j", 1, "labs at once")
	fl.StringVar(&f.io, "io", "", "how packets move: vnet (superpackets, tunnels by tcx) or plain (no eBPF at all); default the best here")
	_ = c.RegisterFlagCompletionFunc("variant", completeVariants)
	_ = c.RegisterFlagCompletionFunc("io", cobra.FixedCompletions([]string{"vnet", "plain"}, cobra.ShellCompDirectiveNoFileComp))
	_ = c.MarkFlagDirname("out")
	_ = c.RegisterFlagCompletionFunc("on", cobra.FixedCompletions([]string{"emu", "emu-hub"}, cobra.ShellCompDirectiveNoFileComp))
	return c
}

func run(cmd *cobra.Command, args []string, f runFlags) error {
	engine, err := engineFor(f.on)
	if err != nil {
		return err
	}
	if io := agent.IO(f.io); io != agent.IOAuto && io != agent.IOVnet && io != agent.IOPlain {
		return usagef("--io %s: want vnet or plain", f.io)
	}
	if f.jobs < 1 || f.timeout <= 0 {
		return usagef("--jobs and --timeout must be positive")
	}
	variants, err := prepareAll(args, f)
	if err != nil {
		return err
	}
	if f.keep && len(variants) != 1 {
		return usagef("--keep keeps one lab; choose with --variant (there are %d runs)", len(variants))
	}
	if err := refuse(variants, engine); err != nil {
		return err
	}
	if done, err := rootless(cmd); done {
		return err
	}
	for _, v := range variants {
		if err := emurun.Possible(v.plan); err != nil {
			return lacking(err)
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

	s := &session{flags: f, engine: engine, out: out, screen: newScreen(cmd.ErrOrStderr()), variants: variants}
	s.runs = make([]*finished, len(variants))
	s.runAll(cmd.Context())
	return s.finish(cmd)
}

// engineFor turns --on into an engine that this version has.
func engineFor(on string) (string, error) {
	switch on {
	case "emu", "emu-hub":
		return "emu-hub", nil
	case "sim", "emu-ebpf", "both":
		return "", lackingf("--on %s: this version has the engine emu-hub alone (--on emu); the simulator and the eBPF dataplane are not in it", on)
	}
	return "", usagef("--on %s: want emu, emu-hub, emu-ebpf, sim or both", on)
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

// refuse names every word of the files that the engine cannot do: before
// anything starts, never ignored.
func refuse(variants []*variant, engine string) error {
	var lacks []error
	said := map[string]bool{}
	for _, v := range variants {
		for _, feature := range emurun.Refused(v.plan) {
			m := v.doc.MistakeIn(v.spec, feature.Path, fmt.Sprintf("%s: the engine %s of this version cannot do this", feature.Word, engine))
			if !said[m.Error()] {
				said[m.Error()] = true
				lacks = append(lacks, m)
			}
		}
	}
	if len(lacks) > 0 {
		return lacking(errors.Join(lacks...))
	}
	return nil
}

// session is one `homeward run`.
type session struct {
	flags    runFlags
	engine   string
	out      *record.Out
	screen   *screen
	variants []*variant
	runs     []*finished
}

// finished is what came of one variant.
type finished struct {
	records *record.Records
	dir     string
	err     error
	skip    string
	wall    time.Duration
}

func (s *session) runAll(ctx context.Context) {
	var group errgroup.Group
	group.SetLimit(s.flags.jobs)
	for i, v := range s.variants {
		group.Go(func() error {
			if ctx.Err() == nil {
				s.runs[i] = s.runOne(ctx, v)
			}
			return nil
		})
	}
	_ = group.Wait() // the runs carry their own errors
	s.screen.clear()
}

func (s *session) runOne(ctx context.Context, v *variant) *finished {
	start := time.Now()
	f := &finished{}
	name := v.plan.Scenario + "/" + v.plan.Variant
	if f.skip = missingNeeds(v.plan.Needs); f.skip != "" {
		return f
	}
	dir, err := s.out.Run(v.plan.Scenario, v.plan.Variant, s.engine)
	if err != nil {
		f.err = err
		return f
	}
	f.dir = dir.Dir()
	memory := &record.Memory{}
	limited, cancel := ctx, func() {}
	if !s.flags.keep {
		limited, cancel = context.WithTimeoutCause(ctx, s.flags.timeout, fmt.Errorf("not done after --timeout %s", s.flags.timeout))
	}
	defer cancel()
	f.err = emurun.Run(limited, v.plan, record.Tee(dir, memory, s.screen.sink(name)), s.options(f.dir))
	if err := dir.Close(); err != nil && f.err == nil {
		f.err = err
	}
	f.records = memory.Records()
	f.wall = time.Since(start)
	return f
}

func (s *session) options(dir string) emurun.Options {
	o := emurun.Options{AgentArgs: []string{agentCommand}, PumpArgs: []string{pumpCommand}, IO: agent.IO(s.flags.io), Versions: versions(), Capture: filepath.Join(dir, record.CaptureFile)}
	if s.flags.keep {
		o.Keep = func(ctx context.Context, nodes []emurun.Door) {
			s.screen.clear()
			fmt.Fprintln(s.screen.w, "The lab is up. Enter a node, as root:")
			for _, n := range nodes {
				fmt.Fprintf(s.screen.w, "  nsenter --net=%s   # %s\n", n.Path, n.Node)
			}
			fmt.Fprintln(s.screen.w, "Ctrl-C takes it down.")
			<-ctx.Done()
		}
	}
	return o
}

// finish judges, writes the reports and says how it went.
func (s *session) finish(cmd *cobra.Command) error {
	summaries := s.judge()
	reports := s.report(summaries)
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

// judge turns runs into verdicts, and drops the captures of runs that hold.
func (s *session) judge() []record.Summary {
	by := map[string]map[string]*record.Records{} // scenario → variant
	for i, r := range s.runs {
		if p := s.variants[i].plan; r != nil && r.err == nil && r.records != nil {
			if by[p.Scenario] == nil {
				by[p.Scenario] = map[string]*record.Records{}
			}
			by[p.Scenario][p.Variant] = r.records
		}
	}
	var all []record.Summary
	for i, v := range s.variants {
		r := s.runs[i]
		sum := record.Summary{Scenario: v.plan.Scenario, Variant: v.plan.Variant, Engine: s.engine, Seed: v.plan.Seed, Fingerprint: v.plan.Fingerprint()}
		switch {
		case r == nil:
			sum.Verdict, sum.Reason = record.Error, "interrupted before it began"
		case r.skip != "":
			sum.Verdict, sum.Reason = record.Skip, r.skip
		case r.err != nil:
			sum.Verdict, sum.Reason = record.Error, r.err.Error()
		default:
			sum.Verdict, sum.Checks = check.Judge(check.EvaluateAll(v.checks, r.records, by[v.plan.Scenario]), v.plan.ExpectFail)
		}
		if r != nil {
			sum.WallMs = r.wall.Milliseconds()
			if sum.Verdict == record.Pass && !s.flags.capture {
				_ = os.Remove(filepath.Join(r.dir, record.CaptureFile))
			}
		}
		all = append(all, sum)
	}
	return all
}
