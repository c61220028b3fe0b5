package fault

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/reports/record"
	"github.com/homeward-lab/homeward/topologies"
	"github.com/homeward-lab/homeward/topologies/plan"
)

// A fault that is much too late makes what was lost meanwhile no verdict; one that
// takes as long as it always does is none.
func TestTardy(t *testing.T) {
	for late, want := range map[time.Duration]string{
		-time.Second: "", 0: "", lateMost: "",
		401 * time.Millisecond: "it has healed 400ms later than planned",
	} {
		if got := tardy("it has healed", late, lateMost); (got == "") != (want == "") || !strings.HasPrefix(got, want) {
			t.Errorf("%v late: %q, want %q", late, got, want)
		}
	}
}

// slowLab takes its time to tell servers something.
type slowLab struct {
	Lab
	takes time.Duration
	mu    sync.Mutex
	said  []record.Event
}

func (l *slowLab) Reconfigure(func(*hub.Config)) error {
	time.Sleep(l.takes)
	return nil
}

func (l *slowLab) Sessions(string) ([]hub.Session, error) { return nil, nil }

func (l *slowLab) Event(e record.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.said = append(l.said, e)
}

// Servers that learn too late where an address is chose by what they knew: the lab
// says so, step by step.
func TestLateStep(t *testing.T) {
	doc, err := topologies.Load("address_move")
	if err != nil {
		t.Fatal(err)
	}
	p, err := plan.Compile(doc.Spec)
	if err != nil {
		t.Fatal(err)
	}
	l := &slowLab{takes: 2 * toldMost}
	e := New(p, l, func(err error) { t.Error(err) })
	defer e.Close()
	f := p.Faults[0]
	f.Moves = f.Moves[:2]
	h, err := e.Start(t.Context(), f)
	if err != nil {
		t.Fatal(err)
	}
	<-h.done
	var late []string
	for _, x := range l.said {
		if x.Kind == "saturated" && x.Fault == f.ID {
			late = append(late, x.Text)
		}
	}
	const want = "knows that 198.51.100.1 goes from lhr to cdg (version 1): "
	if len(late) != 2 || !strings.Contains(late[0], want) || !strings.Contains(late[1], want) {
		t.Errorf("said %q, want two steps that were too late, %q", late, want)
	}
}
