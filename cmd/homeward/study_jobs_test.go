package main

import (
	"bytes"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"
)

// job is what the manifest says of a batch/v1 Job (Kubernetes API reference), no word
// more.
type job struct {
	APIVersion string `yaml:"apiVersion"`
	Kind       string
	Metadata   struct{ Name string }
	Spec       struct {
		CompletionMode       string `yaml:"completionMode"`
		Completions          int
		Parallelism          int
		BackoffLimitPerIndex int `yaml:"backoffLimitPerIndex"`
		MaxFailedIndexes     int `yaml:"maxFailedIndexes"`
		Template             struct{ Spec pod }
	}
}

type pod struct {
	RestartPolicy string `yaml:"restartPolicy"`
	Containers    []struct {
		Name, Image  string
		Args         []string
		Env          []struct{ Name, Value string }
		Resources    struct{ Requests map[string]string }
		VolumeMounts []struct {
			Name      string
			MountPath string `yaml:"mountPath"`
		} `yaml:"volumeMounts"`
	}
	Volumes []struct {
		Name                  string
		PersistentVolumeClaim struct {
			ClaimName string `yaml:"claimName"`
		} `yaml:"persistentVolumeClaim"`
	}
}

// TestManifestIsAJob: the manifest is YAML whose every word an Indexed Job has, its
// names are ones that Kubernetes takes, and pods know how many they are.
func TestManifestIsAJob(t *testing.T) {
	for _, name := range []string{"slice_size", "mine.yaml"} {
		var out bytes.Buffer
		f := kubernetesFlags{jobs: 7, image: "registry.example/homeward:1", volume: "results"}
		if err := f.manifest(&out, "slice_size", name); err != nil {
			t.Fatal(err)
		}
		var j job
		d := yaml.NewDecoder(&out)
		d.KnownFields(true)
		if err := d.Decode(&j); err != nil {
			t.Fatal(err)
		}
		if j.APIVersion != "batch/v1" || j.Kind != "Job" || j.Spec.CompletionMode != "Indexed" || j.Spec.Completions != 7 || j.Spec.Parallelism != 7 || strings.Contains(j.Metadata.Name, "_") {
			t.Errorf("%+v", j)
		}
		p := j.Spec.Template.Spec
		if len(p.Containers) != 1 || len(p.Volumes) != 1 {
			t.Fatalf("%+v", p)
		}
		c := p.Containers[0]
		if c.VolumeMounts[0].Name != p.Volumes[0].Name || p.Volumes[0].PersistentVolumeClaim.ClaimName != "results" || p.RestartPolicy != "Never" {
			t.Errorf("%+v", p)
		}
		if c.Args[0] != "study" || len(c.Env) != 1 || c.Env[0].Name != "HOMEWARD_JOBS" || c.Env[0].Value != "7" {
			t.Errorf("%+v", c)
		}
	}
	for _, f := range []kubernetesFlags{{jobs: 0, image: "x", volume: "y"}, {jobs: 1, image: "x\n- evil", volume: "y"}, {jobs: 1, image: "x", volume: ""}} {
		if err := f.manifest(&bytes.Buffer{}, "slice_size", "slice_size"); err == nil {
			t.Errorf("%+v was taken", f)
		}
	}
}
