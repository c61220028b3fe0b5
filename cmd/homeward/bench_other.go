//go:build !linux

package main

import (
	"context"
	"errors"

	"github.com/homeward-lab/homeward/reports/figure"
)

func benchLab(context.Context) ([]figure.Row, error) {
	return nil, errors.New("bench lab: a lab needs Linux")
}

func benchDataplane(context.Context) ([]figure.Row, error) {
	return nil, errors.New("bench dataplane: a lab needs Linux")
}
