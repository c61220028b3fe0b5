package host

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/homeward-lab/homeward/reports/record"
	"github.com/homeward-lab/homeward/topologies/plan"
)

// session is a flow of datagrams: UDP to an echo service, or pings.
type session struct {
	f     *plan.Flow
	c     *conn
	s     *signer
	dst   unix.Sockaddr
	size  int // of a request's payload
	want  int // of a UDP answer's payload
	out   []byte
	in    []byte
	sent  []time.Time // by sequence number, from 0
	done  []bool
	got   int
	wrong map[string]int // what was wrong with answers
	o     *Outcome
}

// datagrams sends f.Packets requests and waits for the answer to each.
func datagrams(ctx context.Context, f *plan.Flow, fd int, s *signer, start time.Time, late func(due time.Time)) (o Outcome) {
	o.Start = start
	packets := max(f.Packets, 1)
	d := &session{
		f: f, s: s, o: &o,
		size: max(int(f.Request), MinRequest), want: max(int(f.Response), MinAnswer),
	}
	if most := maxDatagram; max(d.size, d.want) > most || packets > 1<<16 {
		unix.Close(fd)
		o.Result = record.Failed
		o.Reason = fmt.Sprintf("%d packets of %d bytes, want at most %d of %d", packets, max(d.size, d.want), 1<<16, most)
		return o
	}
	d.out = make([]byte, 8+d.size)
	// Room for the headers of a raw packet, the error that quotes it, and a
	// byte too many.
	d.in = make([]byte, max(d.size, d.want)+256)
	d.sent, d.done, d.wrong = make([]time.Time, 0, packets), make([]bool, packets), map[string]int{}
	var err error
	if f.Proto == plan.UDP {
		if err = unix.Connect(fd, sockaddr(f.Dst)); err != nil {
			unix.Close(fd)
			o.Result, o.Reason = record.Failed, fmt.Sprintf("connect to %s: %v", f.Dst, err)
			return o
		}
	} else {
		d.dst = sockaddr(netip.AddrPortFrom(f.Dst.Addr(), 0))
	}
	if d.c, err = newConn(ctx, fd, late); err != nil {
		o.Result, o.Reason = record.Failed, err.Error()
		return o
	}
	defer d.c.file.Close()
	defer d.c.interrupt()()
	d.c.pace.begin(start)
	if o.Result, o.Reason = d.run(packets); o.Result == record.OK {
		o.End = d.c.arrived
	} else {
		d.c.pace.move(time.Now())
	}
	o.Stall = d.c.pace.longest
	return o
}

// run sends and receives in turns: the wait for answers ends when the next
// request is due.
func (d *session) run(packets int) (record.Result, string) {
	end := d.o.Start.Add(d.f.Timeout)
	for d.got < packets {
		now := time.Now()
		n := len(d.sent)
		if due := d.o.Start.Add(time.Duration(n) * d.f.Interval); n < packets && !now.Before(due) {
			if n > 0 {
				d.c.late(due)
			}
			if err := d.send(uint32(n)); err != nil {
				return d.failure(err, packets)
			}
			continue
		}
		until := d.o.Start.Add(time.Duration(n) * d.f.Interval)
		if n == packets {
			until = d.sent[n-1].Add(d.f.Connect)
		}
		if until.After(end) {
			until = end
		}
		if err := d.c.deadline(until); err != nil {
			return d.failure(err, packets)
		}
		err := d.receive()
		switch {
		case err == nil:
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return d.failure(err, packets)
		case d.c.ctx.Err() != nil || n == packets || !time.Now().Before(end):
			return d.failure(err, packets)
		}
	}
	return record.OK, ""
}

// failure sums up a flow that is not complete.
func (d *session) failure(err error, packets int) (record.Result, string) {
	result, reason := d.c.failure(err, "the answer")
	if d.c.ctx.Err() == nil && errors.Is(err, os.ErrDeadlineExceeded) {
		reason = fmt.Sprintf("%d of %d packets were not answered", packets-d.got, packets)
	}
	for _, text := range []string{errDamaged.Error(), errSignature.Error(), errForeign.Error(), textRequest} {
		if n := d.wrong[text]; n > 0 {
			reason += fmt.Sprintf("; %d × %s", n, text)
			if text != errForeign.Error() { // somebody else's answer does not make ours wrong
				result = record.Failed
			}
		}
	}
	return result, reason
}

const textRequest = "the request arrived damaged"

func (d *session) send(seq uint32) error {
	b := d.out[:d.size]
	if d.f.Proto == plan.ICMP {
		b = d.out[:8+d.size]
		request(b[8:], d.f.Nonce, seq, d.size)
		echoOf(d.f.Dst.Addr()).header(b, d.f.Src.Port(), uint16(seq+1))
	} else {
		request(b, d.f.Nonce, seq, int(d.f.Response))
	}
	// The last wait may have run out; that was no failure.
	if err := d.c.deadline(d.o.Start.Add(d.f.Timeout)); err != nil {
		return err
	}
	now := time.Now()
	if d.sent = append(d.sent, now); seq == 0 {
		d.o.Start = now
		defer func() { d.o.Send = handed(now) }()
	}
	if d.dst == nil {
		_, err := d.c.file.Write(b)
		return err
	}
	var result error
	err := d.c.raw.Write(func(fd uintptr) bool {
		result = unix.Sendto(int(fd), b, 0, d.dst)
		return result != unix.EAGAIN && result != unix.EINTR
	})
	return errors.Join(err, result)
}

// receive takes one datagram; an error is the socket's.
func (d *session) receive() error {
	n, err := d.c.receive(d.in)
	if err != nil {
		return err
	}
	check := d.answer
	if d.f.Proto == plan.ICMP {
		check = d.reply
	}
	v, err := check(d.in[:n])
	switch {
	case errors.Is(err, syscall.EHOSTUNREACH):
		return err
	case errors.Is(err, errNotOurs):
		return nil
	case err != nil:
		d.wrong[err.Error()]++
		return nil
	case !v.intact || v.length != d.size:
		d.wrong[textRequest]++
		return nil
	case int(v.seq) >= len(d.sent) || d.done[v.seq]:
		return nil // a duplicate, or an answer to what was never sent
	}
	d.done[v.seq] = true
	d.c.pace.move(time.Now())
	if d.got++; d.o.RTT == 0 {
		d.o.RTT = max(d.c.arrived.Sub(d.sent[v.seq]), 1)
		if v.seq != 0 {
			d.o.Send = 0 // of a packet that was not answered
		}
		if now := time.Since(d.sent[v.seq]); d.o.RTT > now {
			d.o.RTT = now // the wall clock was set in between
		}
	}
	d.o.Up += int64(d.size)
	d.o.Down += int64(v.received)
	if v.peer.IsValid() {
		d.o.Egress = v.peer
	}
	return nil
}

// answer checks a UDP answer.
func (d *session) answer(b []byte) (verdict, error) {
	v, err := d.s.verify(b, d.f.Nonce)
	if err != nil {
		return v, err
	}
	if len(b) != d.want {
		return v, errDamaged
	}
	return v, nil
}
