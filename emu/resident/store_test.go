package resident

import (
	"context"
	"fmt"
	"testing"

	"github.com/homeward-lab/homeward/reports/record"
)

// Of the time line the latest is kept, and whoever asks is told of what is not.
func TestEventsAreBounded(t *testing.T) {
	s := newStore()
	const all = 3*keptEvents + 5
	for i := range all {
		s.Event(record.Event{AtNs: int64(i)})
	}
	told, forgotten, next := 0, 0, int64(-1)
	err := s.follow(t.Context(), false, func(e record.Event, lost int) error {
		forgotten += lost
		if next >= 0 && e.AtNs != next {
			return fmt.Errorf("event %d, want %d", e.AtNs, next)
		}
		told, next = told+1, e.AtNs+1
		return nil
	})
	if err != nil || told+forgotten != all || told < keptEvents || told > 2*keptEvents || next != all {
		t.Errorf("%d told and %d forgotten of %d, the last %d, %v", told, forgotten, all, next-1, err)
	}
}

func TestFollow(t *testing.T) {
	s := newStore()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s.Event(record.Event{Text: "before"})
	var got []string
	err := s.follow(ctx, true, func(e record.Event, _ int) error {
		got = append(got, e.Text)
		switch len(got) {
		case 1:
			go s.Event(record.Event{Text: "after"})
		case 2:
			cancel()
		}
		return nil
	})
	if err != nil || fmt.Sprint(got) != "[before after]" {
		t.Errorf("%v, %v", got, err)
	}
}

// A traffic's latest round counts alone, and so do its misdeliveries.
func TestLatestRound(t *testing.T) {
	s := newStore()
	flow := func(traffic string, at int64, r record.Result) record.Flow {
		return record.Flow{Traffic: traffic, N: 1, Client: "till", Proto: "tcp", Src: "10.0.1.5:" + traffic, Dst: "203.0.113.9:443", StartNs: at, Result: r}
	}
	misdelivered := func(traffic string, at int64) {
		s.Event(record.Event{AtNs: at, Kind: "misdelivered", Node: "till", Flow: "tcp 10.0.1.5:" + traffic + " > 203.0.113.9:443"})
	}
	misdelivered("1", 11)
	s.round([]record.Flow{flow("1", 10, record.Misdelivered), flow("2", 10, record.OK)})
	misdelivered("2", 21)
	s.round([]record.Flow{flow("2", 20, record.Misdelivered)})
	s.round([]record.Flow{flow("1", 30, record.OK)})
	s.Event(record.Event{AtNs: 5, Kind: "fault", Fault: "cut"})
	s.Event(record.Event{AtNs: 31, Kind: "fault", Fault: "cut"})
	r := s.all([]string{"1", "2", "3"})
	if len(r.Flows) != 2 || r.Flows[0].Result != record.OK || r.Flows[1].Result != record.Misdelivered {
		t.Errorf("flows %+v", r.Flows)
	}
	if len(r.Events) != 2 || r.Events[0].AtNs != 21 || r.Events[1].AtNs != 31 {
		t.Errorf("events %+v, want the misdelivery and the fault of the latest round alone", r.Events)
	}
}
