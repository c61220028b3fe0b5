package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/homeward-lab/homeward/reports/record"
	"github.com/homeward-lab/homeward/reports/studypage"
	"github.com/homeward-lab/homeward/sim/study"
	"github.com/homeward-lab/homeward/topologies"
	"github.com/homeward-lab/homeward/topologies/spec"
)

type studyFlags struct {
	out        string
	why        string
	json       bool
	kubernetes kubernetesFlags
	sweep      sweepFlags
}

func newStudy() *cobra.Command {
	var f studyFlags
	c := &cobra.Command{
		Use: "study [NAME|FILE]", Short: "Ask what if: vary a scenario, repeat it, and say how sure the answer is", GroupID: "run",
		Args: cobra.MaximumNArgs(1), ValidArgsFunction: completeStudies,
		Long: `Study runs a scenario at every point that a study file asks for, with the same
random numbers at each, until the numbers are as sure as the file wants, and
writes a page, CSV and Parquet of everything plotted. A number without a sound
interval says why it has none. Without an argument it lists what is shipped.

Results go to out/NAME, or --out. What was answered is kept there: a study that
was interrupted goes on, and one that is done is written again with the same
bytes, as long as file, scenario and program are the same.

Tasks are done in this process, by --workers processes, or by whoever joins with
homeward worker. A job of an array does its part where JOB_COMPLETION_INDEX and
HOMEWARD_JOBS (Kubernetes), or SLURM_ARRAY_TASK_ID and SLURM_ARRAY_TASK_COUNT,
say which; run again without them, the study joins the parts.`,
		Example: `  homeward study slice_size
  homeward study london_fails --why moved
  homeward study mine.yaml --workers 8
  homeward study growth --listen 0.0.0.0:4222 --token-file token --tls-cert cert.pem --tls-key key.pem
  homeward study growth --kubernetes --jobs 50 --image registry.example/homeward | kubectl apply -f -`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return listStudies(cmd.OutOrStdout())
			}
			return f.run(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr(), args[0])
		},
	}
	fl := c.Flags()
	fl.StringVarP(&f.out, "out", "o", "", "results directory (default out/NAME)")
	fl.StringVar(&f.why, "why", "", "say where this measure comes from, at every point")
	fl.BoolVar(&f.json, "json", false, "print all results as JSON")
	f.kubernetes.add(fl)
	f.sweep.add(fl)
	return c
}

func listStudies(w io.Writer) error {
	shipped, err := topologies.StudyList()
	if err != nil {
		return judgeless(err)
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, s := range shipped {
		fmt.Fprintf(tw, "%s\t%s\n", s.Name, s.Title)
	}
	return tw.Flush()
}

func completeStudies(_ *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
	shipped, err := topologies.StudyList()
	if err != nil || len(args) > 0 || strings.ContainsAny(typed, "./") {
		return nil, cobra.ShellCompDirectiveDefault
	}
	var all []cobra.Completion
	for _, s := range shipped {
		if strings.HasPrefix(s.Name, strings.ReplaceAll(typed, "-", "_")) {
			all = append(all, cobra.CompletionWithDesc(s.Name, s.Title))
		}
	}
	return all, cobra.ShellCompDirectiveDefault
}

// redrawPartial is how often a page is written while a study runs.
const redrawPartial = 5 * time.Second

func (f *studyFlags) run(ctx context.Context, out, errs io.Writer, name string) error {
	text, err := readStudy(name)
	if err != nil {
		return err
	}
	o, err := text.open()
	if err != nil {
		return err
	}
	if f.kubernetes.print {
		return f.kubernetes.manifest(out, o.study.Spec.Name, name)
	}
	if f.why != "" {
		if err := o.knownMeasure(f.why); err != nil {
			return err
		}
	}
	shard, err := shardOf()
	if err != nil {
		return err
	}
	dir := cmp.Or(f.out, filepath.Join("out", o.study.Spec.Name))
	part := ""
	if shard.Count > 0 {
		part = fmt.Sprintf("-%d-of-%d", shard.Index, shard.Count)
	}
	store, err := openAnswers(dir, text.key(), part)
	if err != nil {
		return usagef("--out: %w", err)
	}
	defer store.close()
	s := newScreen(errs)
	if n := len(store.known); n > 0 {
		fmt.Fprintf(errs, "%s: going on from %s\n", dir, count(n, "answer"))
	}
	begin(ctx)
	carrier, end, err := f.sweep.start(ctx, text, o, errs)
	if err != nil {
		return err
	}
	defer end()
	began := time.Now()
	r := o.runner()
	r.Sweep, r.Known, r.Keep, r.Shard = carrier, store.known, store.keep, shard
	drawn := time.Now()
	r.Progress = func(done, asked int, snapshot func() *record.Study) {
		s.progress(o.study.Spec.Name, "tasks", done, asked)
		if shard.Count == 0 && time.Since(drawn) > redrawPartial {
			_ = studypage.Partial(dir, snapshot()) // the last one is what counts
			drawn = time.Now()
		}
	}
	result, err := r.Run(ctx)
	s.clear()
	if err == nil {
		fmt.Fprintf(errs, "%s: %s, %s of processors\n", o.study.Spec.Name, took(time.Since(began)), took(processorTime()))
	}
	if errors.Is(err, study.ErrShard) {
		fmt.Fprintf(out, "Part %d of %d is done, in %s. When all are: homeward study %s --out %s\n", shard.Index, shard.Count, dir, name, dir)
		return nil
	}
	return f.finish(out, dir, result, err)
}

// took is a time for people.
func took(d time.Duration) string {
	if d > 10*time.Second {
		return d.Round(time.Second).String()
	}
	return d.Round(10 * time.Millisecond).String()
}

// finish writes what there is, whole or partial, and prints it.
func (f *studyFlags) finish(out io.Writer, dir string, result *record.Study, err error) error {
	if len(result.Points) == 0 {
		return judgeless(cmp.Or(err, errors.New("the study has no results")))
	}
	if werr := studypage.Write(dir, result); werr != nil {
		return judgeless(errors.Join(err, werr))
	}
	if err != nil {
		return judgeless(fmt.Errorf("%w: %s are done; the same command goes on from there", err, result.Partial))
	}
	switch {
	case f.json:
		enc := json.NewEncoder(out)
		enc.SetIndent("", "  ")
		return enc.Encode(result)
	case f.why != "":
		return printWhy(out, result, f.why)
	}
	return printStudy(out, dir, result)
}

func (o *openedStudy) knownMeasure(name string) error {
	var known []string
	for _, m := range o.maker.Measures() {
		if m.Name == name {
			return nil
		}
		known = append(known, m.Name)
	}
	hint := ""
	if near := spec.Nearest(name, known); near != "" {
		hint = fmt.Sprintf("; did you mean %q?", near)
	}
	return usagef("--why: no measure %q at the level %s%s", name, o.study.Spec.Level, hint)
}
