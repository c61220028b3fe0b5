package bpf

import (
	"errors"
	"testing"

	"github.com/containernetworking/plugins/pkg/ns"
	"golang.org/x/sys/unix"

	"github.com/homeward-lab/homeward/internal/need"
)

// BenchmarkLoad is what it costs to bring programs up and take them down again, in
// processor time of this process: the machine's other work does not count.
func BenchmarkLoad(b *testing.B) {
	need.BPF(b)
	mac := testMAC
	for name, load := range map[string]func() error{
		"server": func() error { return tryServer(nil) },
		"fast": func() error {
			d, err := NewDataplane(Spec{MAC: mac, Gateway: mac, Flows: 4096})
			if err != nil {
				return err
			}
			return d.Close()
		},
		"40 branches": func() error {
			var all Branches
			var attached []*Branch
			for range 40 {
				b, err := all.load(options(nil))
				if err != nil {
					return err
				}
				attached = append(attached, b)
			}
			var errs []error
			for _, b := range attached {
				errs = append(errs, b.Close())
			}
			return errors.Join(errs...)
		},
	} {
		b.Run(name, func(b *testing.B) {
			space, err := ns.TempNetNS()
			if err != nil {
				b.Fatal(err)
			}
			defer space.Close()
			before := processorTime()
			for b.Loop() {
				if err := space.Do(func(ns.NetNS) error { return load() }); err != nil {
					b.Fatalf("%+v", err)
				}
			}
			b.ReportMetric(float64(processorTime()-before)/1e6/float64(b.N), "cpu-ms/op")
		})
	}
}

// processorTime of this process, ns.
func processorTime() int64 {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return u.Utime.Nano() + u.Stime.Nano()
}
