package host

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"github.com/homeward-lab/homeward/topologies/plan"
)

// serveHTTP returns a function that serves a listening socket, all with one
// server.
//
//	GET  /                   for people: curl http://203.0.113.9/
//	POST /flow/TRAFFIC/N     for flows: ?nonce=…&response=BYTES
func (o *origin) serveHTTP() func(fd int) error {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", o.hello)
	mux.HandleFunc("POST /flow/{traffic}/{n}", o.flow)
	srv := &http.Server{
		Handler:           mux,
		ReadHeaderTimeout: time.Minute,
		IdleTimeout:       time.Minute,
		ErrorLog:          log.New(io.Discard, "", 0), // faults of clients; clients tell
	}
	o.closers = append(o.closers, srv)
	return func(fd int) error {
		l, err := newListener(fd, o)
		if err != nil {
			return err
		}
		o.running.Go(func() { _ = srv.Serve(l) }) // ErrServerClosed, by Close
		return nil
	}
}

// forbidden is what somebody reads whose address is not among those allowed.
const forbidden = "This origin does not serve your address."

func (o *origin) hello(w http.ResponseWriter, r *http.Request) {
	if peer, err := netip.ParseAddrPort(r.RemoteAddr); err != nil || !o.svc.Answers(peer.Addr()) {
		http.Error(w, forbidden, http.StatusForbidden)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	fmt.Fprintf(w, "Hello from %s at %s.\nYour packets come from %s here, and this reply is on its way home.\n",
		o.svc.Node, o.svc.Address, r.RemoteAddr)
}

// flow takes the patterned request, and says under signature what it saw.
func (o *origin) flow(w http.ResponseWriter, r *http.Request) {
	nonce, err := strconv.ParseUint(r.URL.Query().Get("nonce"), 10, 64)
	if err != nil {
		http.Error(w, "nonce: want a decimal number", http.StatusBadRequest)
		return
	}
	response, err := strconv.ParseInt(r.URL.Query().Get("response"), 10, 64)
	if err != nil || response < 0 {
		http.Error(w, "response: want a number of bytes", http.StatusBadRequest)
		return
	}
	n, err := strconv.Atoi(r.PathValue("n"))
	if err != nil {
		http.Error(w, "want /flow/TRAFFIC/N", http.StatusBadRequest)
		return
	}
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	buf, put := o.buffers.get(max(r.ContentLength, response))
	defer put()
	st := statement{nonce: nonce, flow: r.PathValue("traffic") + "/" + strconv.Itoa(n), peer: peer}
	if st.request, st.damaged, err = drain(r.Body, buf, requestPattern(nonce)); err != nil {
		return // the client has gone
	}
	if o.opt.Observe != nil {
		o.opt.Observe(Seen{
			Node: o.svc.Node, Proto: plan.TCP, Traffic: r.PathValue("traffic"), N: n, Nonce: nonce,
			Peer: peer, At: time.Now(), Request: st.request, Intact: st.damaged < 0,
		})
	}
	if !o.svc.Answers(peer.Addr()) {
		http.Error(w, forbidden, http.StatusForbidden)
		return
	}
	s := o.signers.Get().(*signer)
	st.write(w.Header(), s)
	o.signers.Put(s)
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Length", strconv.FormatInt(response, 10))
	if response > serverBuffer/2 {
		_ = http.NewResponseController(w).Flush() // pour tells if it has failed
	}
	_ = pour(w, buf, responsePattern(nonce), response)
}

// serverBuffer is how much net/http collects before it writes. The header of a response
// that is longer goes by itself, and the rest in one piece: else the header and what has
// room beside it do, and TCP would hear about these few packets, of a path that takes
// only shorter ones, before it has those that follow.
const serverBuffer = 4 << 10

// drain reads to the end. It returns how much came, and the offset of the
// first byte that was not the pattern's, or -1.
func drain(r io.Reader, buf []byte, p Pattern) (n, damaged int64, err error) {
	damaged = -1
	for {
		k, err := r.Read(buf)
		if damaged < 0 {
			damaged = p.Check(buf[:k], n)
		}
		n += int64(k)
		if err == io.EOF {
			return n, damaged, nil
		}
		if err != nil {
			return n, damaged, err
		}
	}
}

// pour writes size bytes of the pattern.
func pour(w io.Writer, buf []byte, p Pattern, size int64) error {
	for off := int64(0); off < size; {
		b := buf[:min(int64(len(buf)), size-off)]
		p.Fill(b, off)
		n, err := w.Write(b)
		off += int64(n)
		if err != nil {
			return err
		}
	}
	return nil
}
