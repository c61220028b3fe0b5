package load_test

import (
	"testing"

	"github.com/homeward-lab/homeward/topologies"
)

func TestShipped(t *testing.T) {
	d, err := topologies.Load("overlapping_branches")
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range d.Variants() {
		if _, err := d.Resolve(v, nil); err != nil {
			t.Errorf("variant %s: %v", v, err)
		}
	}
}
