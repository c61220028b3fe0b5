package unit_test

import (
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/homeward-lab/homeward/dataplane/unit"
	"pgregory.net/rapid"
)

func TestParse(t *testing.T) {
	bytes := func(s string) (float64, error) { v, err := unit.ParseBytes(s); return float64(v), err }
	rate := func(s string) (float64, error) { v, err := unit.ParseBitRate(s); return float64(v), err }
	ratio := func(s string) (float64, error) { v, err := unit.ParseRatio(s); return float64(v), err }
	duration := func(s string) (float64, error) { v, err := unit.ParseDuration(s); return float64(v), err }
	tests := []struct {
		kind  string
		parse func(string) (float64, error)
		text  string
		want  float64
		bad   string // part of the error; empty means none
	}{
		{"bytes", bytes, "256KiB", 256 << 10, ""},
		{"bytes", bytes, "1MB", 1e6, ""},
		{"bytes", bytes, "1.5MiB", 3 << 19, ""},
		{"bytes", bytes, "0", 0, ""},
		{"bytes", bytes, "0B", 0, ""},
		{"bytes", bytes, "64", 0, "no unit; want a size such as 64KiB"},
		{"bytes", bytes, "64KB", 0, `unknown unit "KB"`},
		{"bytes", bytes, "64kib", 0, `unknown unit "kib"`},
		{"bytes", bytes, "1 MB", 0, "unknown unit"},
		{"bytes", bytes, "-1B", 0, "negative"},
		{"bytes", bytes, "0.5B", 0, "whole number"},
		{"bytes", bytes, "9e9B", 0, "unknown unit"},
		{"bytes", bytes, "9999999999TiB", 0, "too large"},
		{"bytes", bytes, "", 0, "want a size"},
		{"bytes", bytes, ".5MB", 0, "want a size"},
		{"bytes", bytes, "1.MB", 0, "want a size"},
		{"bytes", bytes, "1.2.3MB", 0, "want a size"},
		{"bytes", bytes, strings.Repeat("9", 1000) + "B", 0, "want a size"},
		{"rate", rate, "500Mbit", 5e8, ""},
		{"rate", rate, "2.5Gbit", 2.5e9, ""},
		{"rate", rate, "500", 0, "no unit; want a rate such as 500Mbit"},
		{"rate", rate, "500MB", 0, `unknown unit "MB"`},
		{"ratio", ratio, "0.1%", 0.001, ""},
		{"ratio", ratio, "0%", 0, ""},
		{"ratio", ratio, "100%", 1, ""},
		{"ratio", ratio, "0.25", 0.25, ""},
		{"ratio", ratio, "5", 0, "no percent sign"},
		{"ratio", ratio, "101%", 0, "more than 100%"},
		{"ratio", ratio, "-1%", 0, "negative"},
		{"ratio", ratio, "NaN", 0, "want a share"},
		{"ratio", ratio, "1e-3", 0, "want a share"},
		{"duration", duration, "4ms", 4e6, ""},
		{"duration", duration, "1m30s", 9e10, ""},
		{"duration", duration, "0", 0, ""},
		{"duration", duration, "4", 0, "want a duration such as 4ms"},
		{"duration", duration, "-4ms", 0, "negative"},
	}
	for _, tt := range tests {
		t.Run(tt.kind+" "+tt.text[:min(len(tt.text), 20)], func(t *testing.T) {
			got, err := tt.parse(tt.text)
			if tt.bad == "" {
				if err != nil || got != tt.want {
					t.Errorf("got %v, %v, want %v", got, err, tt.want)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.bad) || !errors.Is(err, unit.ErrSyntax) {
				t.Errorf("error %v, want one with %q", err, tt.bad)
			}
		})
	}
}

func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		edges := rapid.OneOf(rapid.Int64Range(0, math.MaxInt64), rapid.SampledFrom([]int64{0, 1, 999, 1000, 1023, 1024, 1025, 1e6, 1 << 20, 1e9, 1 << 30, math.MaxInt64}))
		b := unit.Bytes(edges.Draw(t, "bytes"))
		if got, err := unit.ParseBytes(b.String()); err != nil || got != b {
			t.Fatalf("bytes %d prints %s, reads %d, %v", int64(b), b, int64(got), err)
		}
		r := unit.BitRate(edges.Draw(t, "rate"))
		if got, err := unit.ParseBitRate(r.String()); err != nil || got != r {
			t.Fatalf("rate %d prints %s, reads %d, %v", int64(r), r, int64(got), err)
		}
		d := unit.Duration(edges.Draw(t, "duration"))
		if got, err := unit.ParseDuration(d.String()); err != nil || got != d {
			t.Fatalf("duration %d prints %s, reads %d, %v", int64(d), d, int64(got), err)
		}
		p := unit.Ratio(rapid.IntRange(0, 100000).Draw(t, "ratio")) / 100000
		if got, err := unit.ParseRatio(p.String()); err != nil || got != p {
			t.Fatalf("ratio %v prints %s, reads %v, %v", float64(p), p, float64(got), err)
		}
	})
}

func TestJSON(t *testing.T) {
	type quantities struct {
		Size  unit.Bytes
		Rate  unit.BitRate
		Loss  unit.Ratio
		Delay unit.Duration
	}
	in := quantities{Size: 256 * unit.KiB, Rate: 500 * unit.Mbit, Loss: 0.001, Delay: unit.Duration(4 * time.Millisecond)}
	text, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"Size":"256KiB","Rate":"500Mbit","Loss":"0.1%","Delay":"4ms"}`; string(text) != want {
		t.Errorf("got %s, want %s", text, want)
	}
	var out quantities
	if err := json.Unmarshal(text, &out); err != nil || out != in {
		t.Errorf("got %+v, %v, want %+v", out, err, in)
	}
	if err := json.Unmarshal([]byte(`{"Size":"many"}`), &out); err == nil || out.Size != in.Size {
		t.Errorf("a refused size left %v, %v, want the old value and an error", out.Size, err)
	}
}

func TestTxTime(t *testing.T) {
	tests := []struct {
		rate unit.BitRate
		size unit.Bytes
		want time.Duration
	}{
		{unit.Gbit, 1500, 12 * time.Microsecond},
		{500 * unit.Mbit, 1500, 24 * time.Microsecond},
		{0, 1500, 0},
		{1, math.MaxInt64, math.MaxInt64},
		{8, math.MaxInt64, math.MaxInt64},
	}
	for _, tt := range tests {
		if got := tt.rate.TxTime(tt.size); got != tt.want {
			t.Errorf("%v at %v: got %v, want %v", tt.size, tt.rate, got, tt.want)
		}
	}
}
