package simbench

import (
	"bytes"
	"context"
	_ "embed"
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/homeward-lab/homeward/dataplane/vt"
	"github.com/homeward-lab/homeward/reports/figure"
	"github.com/homeward-lab/homeward/sim/maxmin"
)

//go:embed simgrid/simgrid.cc
var simgridSource []byte

// BuildSimGrid makes the program of simgrid/simgrid.cc.
func BuildSimGrid(ctx context.Context) (*Judge, error) {
	return recipe{
		name: "SimGrid", version: "3.32", source: simgridSource, packet: "libsimgrid-dev",
		header: "/usr/include/simgrid/s4u.hpp", library: "libsimgrid.so.3.32", flags: []string{"-lsimgrid"},
	}.build(ctx)
}

const (
	starFlows    = 5000
	starCapacity = 125e6 // bytes per second, of a host's link each way
	starMean     = 1e6   // bytes of a flow
	starShape    = 1.5   // of the Pareto distribution that sizes have
	// sameTime is how much, relatively, the time that a flow takes may differ:
	// SimGrid itself computes to 1e-5.
	sameTime = 1e-4
)

// star is hosts around a switch, and how busy their links are.
type star struct {
	hosts int
	load  float64
}

func stars() []star { return []star{{100, 0.7}, {100, 0.9}, {400, 0.7}} }

// jobs are flows that begin at random (Poisson), from and to any two hosts. A
// host's link to the switch has its number, that back the number after all those.
func (s star) jobs(flows int) []maxmin.Job {
	r := rand.New(rand.NewPCG(uint64(s.hosts), math.Float64bits(s.load)))
	gap := starMean / (s.load * starCapacity * float64(s.hosts)) * float64(time.Second)
	at, jobs := 0.0, make([]maxmin.Job, flows)
	for i := range jobs {
		at += r.ExpFloat64() * gap
		from, to := r.IntN(s.hosts), r.IntN(s.hosts-1)
		if to >= from {
			to++
		}
		size := math.Pow(1-r.Float64(), -1/starShape) * starMean * (starShape - 1) / starShape
		jobs[i] = maxmin.Job{Start: vt.Instant(at), Links: []int32{int32(from), int32(s.hosts + to)}, Size: math.Ceil(size)}
	}
	return jobs
}

// carry is when each flow ends by the simulator's own sharing, and the time that
// took.
func (s star) carry(jobs []maxmin.Job) (ends []float64, took time.Duration, err error) {
	capacity := make([]float64, 2*s.hosts)
	for i := range capacity {
		capacity[i] = starCapacity
	}
	net, err := maxmin.New(capacity)
	if err != nil {
		return nil, 0, err
	}
	took, err = timed(func() error { ends = maxmin.NewFluid(net).Run(jobs); return nil })
	return ends, took, err
}

// judge is carry by SimGrid, ns.
func (s star) judge(ctx context.Context, j *Judge, jobs []maxmin.Job) (ends []float64, took float64, err error) {
	var in bytes.Buffer
	for _, x := range jobs {
		fmt.Fprintf(&in, "%.9f %d %d %.0f\n", x.Start.Sub(0).Seconds(), x.Links[0], int(x.Links[1])-s.hosts, x.Size)
	}
	fields, err := j.output(ctx, &in, "star", s.hosts, starCapacity)
	if err != nil {
		return nil, 0, err
	}
	numbers := make([]float64, 0, len(fields))
	for _, f := range fields[min(1, len(fields)):] {
		v, err := strconv.ParseFloat(f, 64)
		if err != nil {
			return nil, 0, fmt.Errorf("SimGrid says %q: %w", f, err)
		}
		numbers = append(numbers, v)
	}
	if len(numbers) != 1+len(jobs) || fields[0] != "cpu_ns" {
		return nil, 0, fmt.Errorf("SimGrid says %d numbers, want a time and the ends of %d flows", len(numbers), len(jobs))
	}
	return numbers[1:], numbers[0], nil
}

// agree reports whether every flow takes as long, relatively.
func agree(jobs []maxmin.Job, a, b []float64) bool {
	for i, j := range jobs {
		took := a[i] - float64(j.Start)/float64(time.Second)
		if !(math.Abs(a[i]-b[i]) <= sameTime*took) {
			return false
		}
	}
	return true
}

// maxmin is flows that share links beside SimGrid: for each flow, the geometric
// mean over the stars.
func (b *Bench) maxmin(ctx context.Context) (rows []figure.Row, err error) {
	judge, err := BuildSimGrid(ctx)
	if err != nil {
		return nil, err
	}
	defer judge.Close()
	equal := true
	var own, other []float64
	for range b.Rounds {
		if err := context.Cause(ctx); err != nil {
			return nil, err
		}
		mean, mean2 := 0.0, 0.0 // of logarithms
		for _, s := range stars() {
			jobs := s.jobs(b.work(starFlows))
			ends, took, err := s.carry(jobs)
			if err != nil {
				return nil, err
			}
			mean += math.Log(float64(took) / float64(len(jobs)))
			if judge.Absent != "" {
				continue
			}
			want, took2, err := s.judge(ctx, judge, jobs)
			if err != nil {
				return nil, err
			}
			mean2 += math.Log(took2 / float64(len(jobs)))
			equal = equal && agree(jobs, ends, want)
		}
		own = append(own, math.Exp(mean/float64(len(stars()))))
		other = append(other, math.Exp(mean2/float64(len(stars()))))
	}
	row := figure.Cost("sim.maxmin_vs_simgrid", median(own), "ns")
	return []figure.Row{beside(row, judge, other, goalMaxmin, equal)}, nil
}
