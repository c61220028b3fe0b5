package spec_test

import (
	"errors"
	"testing"

	"github.com/homeward-lab/homeward/topologies/spec"
)

func TestMatches(t *testing.T) {
	tests := []struct {
		pattern, id string
		want        bool
	}{
		{"shop.1.wan", "shop.1.wan", true},
		{"shop.*.wan", "shop.1.wan", true},
		{"shop.*.wan", "shop.31.wan", true},
		{"*.*.wan", "shop.1.wan", true},
		{"*", "web", true},
		{"*", "web.1", false},
		{"shop.*", "shop.1.wan", false},
		{"shop.1.wan", "shop.1", false},
		{"shop.1.wan", "shop.11.wan", false},
		{"shop.*.wan", "shop.1.wan2", false},
		{"shop.*.wan", "shops.1.wan", false},
		{"", "", false},
		{"Shop", "Shop", false},
		{"shop..wan", "shop..wan", false},
		{"shop.0.wan", "shop.0.wan", false},
	}
	for _, tt := range tests {
		if got := spec.Matches(tt.pattern, tt.id); got != tt.want {
			t.Errorf("Matches(%q, %q) = %v, want %v", tt.pattern, tt.id, got, tt.want)
		}
	}
}

func TestParseSelector(t *testing.T) {
	for _, bad := range []string{"", ".", "shop.", ".shop", "shop.**", "shop.1a", "Shop", "shop wan", "shop.01", "_a", "é"} {
		if _, err := spec.ParseSelector(bad); !errors.Is(err, spec.ErrSelector) {
			t.Errorf("ParseSelector(%q): error %v, want ErrSelector", bad, err)
		}
	}
	sel, err := spec.ParseSelector("shop.*.wan.arr")
	if err != nil || sel.Stars() != 1 || len(sel) != 4 || sel.String() != "shop.*.wan.arr" {
		t.Errorf("got %v, %v", sel, err)
	}
}
