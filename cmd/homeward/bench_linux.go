package main

import (
	"context"

	"github.com/homeward-lab/homeward/dataplane/hub/hubbench"
	"github.com/homeward-lab/homeward/emu/labbench"
	"github.com/homeward-lab/homeward/emu/pump"
)

func benchLab(ctx context.Context) ([]hubbench.Row, error) {
	return labbench.Bench{Pump: pump.Options{Exe: "/proc/self/exe", Args: []string{pumpCommand}}}.Run(ctx)
}
