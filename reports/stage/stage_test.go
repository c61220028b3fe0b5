package stage_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/homeward-lab/homeward/reports/record"
	"github.com/homeward-lab/homeward/reports/stage"
)

// show is a network of two sites, where the second one's reply goes astray.
type show struct {
	mu      sync.Mutex
	variant string
	did     []string
	rounds  int
	sent    chan struct{}
	title   string
}

func (s *show) note(what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.did = append(s.did, what)
}

func (s *show) Now(context.Context) (*stage.Scene, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	rec := &record.Records{Run: record.Run{Topology: record.Topology{Nodes: []record.TopologyNode{
		{ID: "shop.1.till", Kind: "host", Site: "shop.1"}, {ID: "shop.2.till", Kind: "host", Site: "shop.2"},
		{ID: "lhr.edge", Kind: "edge", Datacenter: "lhr"}, {ID: "lhr.1", Kind: "server", Datacenter: "lhr"}, {ID: "web", Kind: "origin"},
	}}}}
	if s.rounds > 0 {
		rec.Flows = []record.Flow{
			{Traffic: "same", N: 1, Client: "shop.1.till", Server: "web", HomeServer: "lhr.1", DeliveredTo: "shop.1.till", Result: record.OK},
			{Traffic: "same", N: 2, Client: "shop.2.till", Server: "web", HomeServer: "lhr.1", DeliveredTo: "shop.1.till", Result: record.Misdelivered},
			{Traffic: "late", N: 1, Client: "shop.2.till", Server: "web", HomeServer: "lhr.1", Result: record.Lost},
		}
	}
	return &stage.Scene{
		Name: "lab", Title: s.title, Variant: s.variant, Variants: []stage.Variant{{Name: "base"}, {Name: "other"}}, Traffic: []string{"same", "late"}, Records: rec,
		Tricks: []stage.Trick{{Do: "kill", On: "lhr.1"}, {Do: "degrade", On: "shop.1.wan", Words: []string{"loss=5%"}}},
	}, nil
}

func (s *show) Send(_ context.Context, traffic []string) error {
	s.note("send " + strings.Join(traffic, ","))
	s.mu.Lock()
	s.rounds++
	s.mu.Unlock()
	select {
	case s.sent <- struct{}{}:
	default:
	}
	return nil
}

func (s *show) Break(_ context.Context, how stage.Trick) error {
	s.note(strings.Join(append([]string{how.Do, how.On}, how.Words...), " "))
	return nil
}

func (s *show) Mend(_ context.Context, id string) error {
	return errors.New("nothing is called " + id)
}

func (s *show) Vary(_ context.Context, variant string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.variant = variant
	return nil
}

func (s *show) Follow(ctx context.Context, each func(record.Event) error) error {
	for {
		if err := each(record.Event{AtNs: 2e9, Node: "lhr.1", Kind: "drop", Reason: "orphan"}); err != nil {
			return err
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			return nil
		}
	}
}

// on has a show on a stage, and the address of its page.
func on(t *testing.T, s *show) string {
	t.Helper()
	s.variant, s.sent = "base", make(chan struct{}, 1)
	st := stage.New(s, "KEY")
	srv := httptest.NewServer(st.Handler())
	ctx, cancel := context.WithCancel(t.Context())
	played := make(chan error, 1)
	go func() { played <- st.Play(ctx) }()
	t.Cleanup(func() {
		cancel()
		srv.CloseClientConnections()
		srv.Close()
		if err := <-played; err != nil {
			t.Errorf("Play: %v", err)
		}
	})
	return srv.URL + st.Path()
}

// scene is what the tests read of what the page is told.
type scene struct {
	Title, Variant, Picture string
	Round                   int
	Tallies                 []struct {
		Traffic                     string
		Home, Elsewhere, Unanswered int
	}
}

// watch opens the news, and hands on each scene until it is told to stop.
func watch(t *testing.T, page string, until func(kind string, s *scene) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, page+"news", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	kind := ""
	for lines := bufio.NewReader(resp.Body); ; {
		line, err := lines.ReadString('\n')
		if err != nil {
			t.Fatalf("the news ended: %v", err)
		}
		if k, ok := strings.CutPrefix(line, "event: "); ok {
			kind = strings.TrimSpace(k)
		}
		data, ok := strings.CutPrefix(line, "data: ")
		if !ok {
			continue
		}
		var s scene
		if kind == "scene" {
			if err := json.Unmarshal([]byte(data), &s); err != nil {
				t.Fatal(err)
			}
		}
		if until(kind, &s) {
			return
		}
	}
}

// post has a deed done, and returns the status and what was said.
func post(t *testing.T, page, contentType, body string) (int, string) {
	t.Helper()
	resp, err := http.Post(page+"do", contentType, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, strings.TrimSpace(string(text))
}

// A page that is opened sees rounds of traffic, and where replies went.
func TestWatched(t *testing.T) {
	s := &show{title: "Two shops <script>"}
	page := on(t, s)
	select {
	case <-s.sent:
		t.Fatal("traffic was sent before anybody watched")
	case <-time.After(50 * time.Millisecond):
	}
	seen, happened := false, false
	watch(t, page, func(kind string, sc *scene) bool {
		happened = happened || kind == "happened"
		if kind != "scene" || sc.Round < 1 {
			return seen && happened
		}
		seen = true
		all := sc.Tallies[0]
		if all.Traffic != "all" || all.Home != 1 || all.Elsewhere != 1 || all.Unanswered != 1 {
			t.Errorf("of all traffic: %+v, want one each", all)
		}
		for _, want := range []string{`data-id="lhr.1"`, `data-id="dc:lhr"`, `data-id="shop.2"`, `data-layer="same"`} {
			if !strings.Contains(sc.Picture, want) {
				t.Errorf("the picture has no %s", want)
			}
		}
		return happened
	})
}

// Deeds are those that the page offers, from the page alone.
func TestDeeds(t *testing.T) {
	const form, js = "application/x-www-form-urlencoded", "application/json"
	tests := []struct {
		name, contentType, body string
		status                  int
		says, did               string
	}{
		{"break", js, `{"break":{"do":"kill","on":"lhr.1"}}`, 204, "", "kill lhr.1"},
		{"break with the show's words", js, `{"break":{"do":"degrade","on":"shop.1.wan","words":["loss=100%"]}}`, 204, "", "degrade shop.1.wan loss=5%"},
		{"what is not offered", js, `{"break":{"do":"kill","on":"web"}}`, 409, "kill web is nothing that can be done here", ""},
		{"what goes wrong", js, `{"mend":"cut-9"}`, 409, "nothing is called cut-9", ""},
		{"vary", js, `{"vary":"other"}`, 204, "", ""},
		{"send", js, `{"send":["late"]}`, 204, "", "send late"},
		{"nothing", js, `{}`, 409, "nothing was asked for", ""},
		{"an unknown word", js, `{"rm":"-rf"}`, 400, `unknown field "rm"`, ""},
		{"another page's form", form, `{"break":{"do":"kill","on":"lhr.1"}}`, 415, "want application/json", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := &show{}
			page := on(t, s)
			watch(t, page, func(kind string, _ *scene) bool { return kind == "scene" })
			s.mu.Lock()
			s.did = nil
			s.mu.Unlock()
			status, said := post(t, page, tt.contentType, tt.body)
			if status != tt.status || !strings.Contains(said, tt.says) {
				t.Errorf("%d %q, want %d %q", status, said, tt.status, tt.says)
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			done := false
			for _, d := range s.did {
				done = done || d == tt.did
				if tt.did == "" && !strings.HasPrefix(d, "send") {
					t.Errorf("did %q, want nothing", d)
				}
			}
			if tt.did != "" && !done {
				t.Errorf("did %q, want %q", s.did, tt.did)
			}
		})
	}
}

// Who does not know the address, or comes by another name, sees nothing.
func TestForThisMachineAlone(t *testing.T) {
	page := on(t, &show{})
	get := func(url, host string) (int, string) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = host
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, string(text)
	}
	for _, tt := range []struct {
		name, url, host string
		status          int
	}{
		{"the page", page, "", 200},
		{"by the machine's own name", page, "localhost:80", 200},
		{"by IPv6", page, "[::1]:80", 200},
		{"without the key", strings.TrimSuffix(page, "KEY/"), "", 404},
		{"with another key", strings.Replace(page, "KEY", "YEK", 1) + "news", "", 404},
		{"by a name that resolves here", page, "evil.example:80", 403},
	} {
		if status, text := get(tt.url, tt.host); status != tt.status {
			t.Errorf("%s: %d, want %d\n%.200s", tt.name, status, tt.status, text)
		}
	}
}
