package load_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/homeward-lab/homeward/topologies/load"
	"github.com/homeward-lab/homeward/topologies/spec"
)

func TestShipped(t *testing.T) {
	d, err := load.File("../overlapping_branches.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range d.Variants() {
		s, err := d.Resolve(v, []spec.Setting{{Path: "lhr.servers", Value: "3"}})
		if err != nil {
			t.Fatal(err)
		}
		j, _ := json.MarshalIndent(s, "", " ")
		fmt.Println(string(j))
	}
}
