package vt_test

import (
	"math"
	"testing"
	"time"

	"github.com/homeward-lab/homeward/dataplane/vt"
)

// TestAdd: instants add up, and saturate at Never.
func TestAdd(t *testing.T) {
	tests := []struct {
		at   vt.Instant
		d    time.Duration
		want vt.Instant
	}{
		{5, 7, 12},
		{5, -5, 0},
		{vt.Never, time.Hour, vt.Never},
		{vt.Never, 0, vt.Never},
		{vt.Never - 1, 1, vt.Never},
		{vt.Never - 1, 2, vt.Never},
		{1, math.MaxInt64, vt.Never},
		{0, math.MaxInt64, vt.Never},
	}
	for _, tt := range tests {
		if got := tt.at.Add(tt.d); got != tt.want {
			t.Errorf("%d + %d = %d, want %d", tt.at, tt.d, got, tt.want)
		}
	}
	if got := vt.Instant(12).Sub(5); got != 7 {
		t.Errorf("12 - 5 = %v", got)
	}
	if !vt.Instant(1).Before(2) || vt.Instant(2).Before(2) {
		t.Error("Before is not <")
	}
	if vt.Never.String() != "never" || vt.Instant(1500).String() != "1.5µs" {
		t.Errorf("prints %v and %v", vt.Never, vt.Instant(1500))
	}
}
