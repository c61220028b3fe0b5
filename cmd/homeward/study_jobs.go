package main

import (
	"cmp"
	_ "embed"
	"fmt"
	"io"
	"os"
	"regexp"
	"strconv"
	"strings"
	"text/template"

	"github.com/spf13/pflag"

	"github.com/homeward-lab/homeward/sim/study"
)

// The contract of jobs in an array: an index that the scheduler sets, and a count.
// Kubernetes sets no count of an Indexed Job; the manifest does.
var arrays = []struct{ index, count, first string }{
	{"JOB_COMPLETION_INDEX", "HOMEWARD_JOBS", ""},
	{"SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_COUNT", "SLURM_ARRAY_TASK_MIN"},
}

// shardOf is the part of the tasks that the environment gives to this process; none
// means all.
func shardOf() (study.Shard, error) {
	for _, a := range arrays {
		index := os.Getenv(a.index)
		if index == "" {
			continue
		}
		i, err := strconv.Atoi(index)
		if err != nil {
			return study.Shard{}, usagef("%s=%s: want a number", a.index, index)
		}
		n, err := strconv.Atoi(os.Getenv(a.count))
		if err != nil || n < 1 {
			return study.Shard{}, usagef("%s is set and %s=%q: want how many jobs there are", a.index, a.count, os.Getenv(a.count))
		}
		if first, err := strconv.Atoi(os.Getenv(a.first)); a.first != "" && err == nil {
			i -= first // --array=1-10 counts from 1
		}
		if i < 0 || i >= n {
			return study.Shard{}, usagef("%s=%s: want 0 to %d of %d jobs", a.index, index, n-1, n)
		}
		return study.Shard{Index: i, Count: n}, nil
	}
	return study.Shard{}, nil
}

// kubernetesFlags are of the manifest.
type kubernetesFlags struct {
	print  bool
	jobs   int
	image  string
	volume string
}

func (f *kubernetesFlags) add(fl *pflag.FlagSet) {
	fl.BoolVar(&f.print, "kubernetes", false, "print the manifest of an Indexed Job that does the tasks, and run nothing")
	fl.IntVar(&f.jobs, "jobs", 10, "of --kubernetes: how many pods")
	fl.StringVar(&f.image, "image", "homeward:"+release, "of --kubernetes: an image with this program")
	fl.StringVar(&f.volume, "claim", "homeward", "of --kubernetes: a PersistentVolumeClaim that all pods can write (ReadWriteMany)")
}

//go:embed kubernetes.yaml.tmpl
var manifestText string

var plainValue = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:/@-]*$`)

// manifest prints the Job.
func (f *kubernetesFlags) manifest(w io.Writer, name, argument string) error {
	if f.jobs < 1 || f.jobs > 10000 {
		return usagef("--jobs %d, want 1 to 10000", f.jobs)
	}
	file := isFile(argument)
	if file {
		argument = "/results/" + name + ".yaml"
	}
	for flag, v := range map[string]string{"--image": f.image, "--claim": f.volume} {
		if !plainValue.MatchString(v) {
			return usagef("%s %q: want a name", flag, v)
		}
	}
	t, err := template.New("job").Parse(manifestText)
	if err != nil {
		return judgeless(err)
	}
	return t.Execute(w, map[string]any{
		"Name": "homeward-" + strings.ReplaceAll(name, "_", "-"), "Study": cmp.Or(argument, name), "Jobs": f.jobs,
		"Image": f.image, "Claim": f.volume, "Dir": name, "File": file, "Count": fmt.Sprint(f.jobs),
	})
}
