package stage

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"net"
	"net/http"
	"time"

	"github.com/homeward-lab/homeward/reports/picture"
)

//go:embed page.tmpl
var pageText string

//go:embed page.css
var styleText string

//go:embed page.js
var scriptText string

// message is what the page is told: a kind and what it is, as JSON.
type message struct {
	kind string
	body any
}

// waiting is how many messages a slow watcher may be behind; then it misses some
// of what happened, and the next picture is whole again.
const waiting = 256

// most bounds what the page may ask, in bytes.
const most = 1 << 16

// Path is where the page is, below the server's address.
func (s *Stage) Path() string { return "/" + s.key + "/" }

// Handler serves the page below Path, to browsers on this machine.
func (s *Stage) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+s.Path()+"{$}", s.page)
	mux.HandleFunc("GET "+s.Path()+"news", s.news)
	mux.HandleFunc("POST "+s.Path()+"do", s.do)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// Names of other people's that resolve to this machine are not its own.
		if host, _, err := net.SplitHostPort(r.Host); err != nil || host != "localhost" && !loopback(host) {
			http.Error(w, "this page is for this machine alone", http.StatusForbidden)
			return
		}
		h := w.Header()
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-store")
		h.Set("X-Content-Type-Options", "nosniff")
		mux.ServeHTTP(w, r)
	})
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// page is the document; what it shows comes as news.
func (s *Stage) page(w http.ResponseWriter, _ *http.Request) {
	t, err := template.New("stage").Parse(pageText)
	var b bytes.Buffer
	if err == nil {
		err = t.Execute(&b, struct {
			Style  template.CSS
			Script template.JS
		}{picture.Style() + template.CSS(styleText), template.JS(scriptText)})
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = w.Write(b.Bytes())
}

// tell gives a message to all who watch.
func (s *Stage) tell(m message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.watchers {
		select {
		case c <- m:
		default:
		}
	}
}

// news is a stream of server-sent events: the scene, whenever it has changed, and
// what happens.
func (s *Stage) news(w http.ResponseWriter, r *http.Request) {
	c := make(chan message, waiting)
	s.mu.Lock()
	s.watchers[c] = true
	for _, m := range []message{s.last, {kind: "sending", body: s.sending}} {
		if m.kind != "" {
			c <- m
		}
	}
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.watchers, c)
		s.mu.Unlock()
	}()
	s.nudge()
	w.Header().Set("Content-Type", "text/event-stream")
	flush := http.NewResponseController(w)
	for {
		select {
		case m := <-c:
			text, err := json.Marshal(m.body)
			if err == nil {
				_, err = fmt.Fprintf(w, "event: %s\ndata: %s\n\n", m.kind, text)
			}
			if err != nil || len(c) == 0 && flush.Flush() != nil {
				return
			}
		case <-r.Context().Done():
			return
		}
	}
}

// deed is what the page asks for. Exactly one field is set.
type deed struct {
	Send  *[]string `json:"send,omitempty"`
	Play  *bool     `json:"play,omitempty"`
	Break *Trick    `json:"break,omitempty"`
	Mend  *string   `json:"mend,omitempty"`
	Vary  *string   `json:"vary,omitempty"`
}

// do does one thing. JSON alone is taken, which no form of another page can send.
func (s *Stage) do(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Content-Type") != "application/json" {
		http.Error(w, "want application/json", http.StatusUnsupportedMediaType)
		return
	}
	var d deed
	in := json.NewDecoder(http.MaxBytesReader(w, r.Body, most))
	in.DisallowUnknownFields()
	if err := in.Decode(&d); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	// What has begun is not left half done because somebody closed the page.
	if err := s.perform(context.WithoutCancel(r.Context()), &d); err != nil {
		http.Error(w, err.Error(), http.StatusConflict)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (s *Stage) perform(ctx context.Context, d *deed) error {
	switch {
	case d.Send != nil:
		return s.send(ctx, *d.Send)
	case d.Play != nil:
		s.mu.Lock()
		s.playing = *d.Play
		s.mu.Unlock()
		s.nudge()
		return s.refresh(ctx)
	case d.Break != nil:
		how, err := s.known(*d.Break)
		if err != nil {
			return err
		}
		return s.touch(ctx, func() error { return s.show.Break(ctx, how) })
	case d.Mend != nil:
		return s.touch(ctx, func() error { return s.show.Mend(ctx, *d.Mend) })
	case d.Vary != nil:
		return s.touch(ctx, func() error { return s.show.Vary(ctx, *d.Vary) })
	}
	return errors.New("nothing was asked for")
}

// Serve serves the page on the listener and plays, until ctx ends or the show
// cannot go on.
func (s *Stage) Serve(ctx context.Context, l net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	srv := &http.Server{Handler: s.Handler(), ReadHeaderTimeout: 5 * time.Second, BaseContext: func(net.Listener) context.Context { return ctx }}
	done := make(chan error, 2)
	go func() { done <- srv.Serve(l) }()
	go func() { done <- s.Play(ctx) }()
	err := <-done
	cancel()
	_ = srv.Close() // nobody is left to hear that it went wrong
	if other := <-done; err == nil {
		err = other
	}
	if errors.Is(err, http.ErrServerClosed) {
		err = nil
	}
	return err
}
