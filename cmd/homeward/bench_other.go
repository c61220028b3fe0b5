//go:build !linux

package main

import (
	"context"
	"errors"

	"github.com/homeward-lab/homeward/dataplane/hub/hubbench"
)

func benchLab(context.Context) ([]hubbench.Row, error) {
	return nil, errors.New("bench lab: a lab needs Linux")
}

func benchDataplane(context.Context) ([]hubbench.Row, error) {
	return nil, errors.New("bench dataplane: a lab needs Linux")
}
