package resident

import (
	"encoding/json"
	"fmt"
	"testing"
)

// Values are told by the names that selectors use, whatever their place in lists.
func TestDifferences(t *testing.T) {
	old := `{"sites":[{"id":"shop","instance":1,"onramps":[{"id":"wan","arr":true}]},{"id":"shop","instance":2,"near":["lhr","cdg"]}],"seed":7,"routes":[{"prefix":"a"}]}`
	for next, want := range map[string]string{
		old: "[]",
		`{"sites":[{"id":"shop","instance":2,"near":["lhr","cdg"]},{"id":"shop","instance":1,"onramps":[{"id":"wan","arr":true}]}],"seed":7,"routes":[{"prefix":"a"}]}`: "[]",
		`{"sites":[{"id":"shop","instance":1,"onramps":[{"id":"wan"}]},{"id":"shop","instance":2,"near":["cdg"]}],"seed":8,"routes":[{"prefix":"a"},{"prefix":"b"}]}`:   "[{routes.1.prefix  b } {seed 7 8 } {sites.shop.1.onramps.wan.arr true  } {sites.shop.2.near [lhr, cdg] [cdg] }]",
	} {
		got, err := differences(json.RawMessage(old), json.RawMessage(next))
		if err != nil || fmt.Sprint(got) != want {
			t.Errorf("%s: %v, %v, want %s", next, got, err, want)
		}
	}
	if _, err := differences(json.RawMessage(old), json.RawMessage("{")); err == nil {
		t.Error("half a document: no error")
	}
}
