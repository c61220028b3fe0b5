package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"

	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/homeward-lab/homeward/sim/study"
	"github.com/homeward-lab/homeward/sim/sweep"
)

// tokenEnv holds the token of a NATS server: a command line is seen by everybody on a
// machine.
const tokenEnv = "HOMEWARD_NATS_TOKEN"

const workerCommand = "worker"

// natsFlags say how to join a server.
type natsFlags struct {
	url, tokenFile, ca string
}

func (f *natsFlags) add(fl *pflag.FlagSet) {
	fl.StringVar(&f.url, "nats", "", "address of a NATS server with JetStream: nats://HOST:4222, tls://HOST:4222")
	fl.StringVar(&f.tokenFile, "token-file", "", "file with the server's token (or the variable "+tokenEnv+")")
	fl.StringVar(&f.ca, "tls-ca", "", "file with the authority that the server's certificate is of")
}

func (f *natsFlags) token() (string, error) {
	if f.tokenFile == "" {
		return os.Getenv(tokenEnv), nil
	}
	text, err := os.ReadFile(f.tokenFile)
	if err != nil {
		return "", usagef("--token-file: %w", err)
	}
	return strings.TrimSpace(string(text)), nil
}

func (f *natsFlags) connect(name string, more ...nats.Option) (*nats.Conn, error) {
	token, err := f.token()
	if err != nil {
		return nil, err
	}
	options := append([]nats.Option{nats.Name(name)}, more...)
	if token != "" {
		options = append(options, nats.Token(token))
	}
	if f.ca != "" {
		pem, err := os.ReadFile(f.ca)
		if err != nil {
			return nil, usagef("--tls-ca: %w", err)
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(pem) {
			return nil, usagef("--tls-ca %s: no certificate in it", f.ca)
		}
		options = append(options, nats.Secure(&tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}))
	}
	conn, err := nats.Connect(f.url, options...)
	if err != nil {
		return nil, lackingf("--nats %s: %w", f.url, err)
	}
	return conn, nil
}

func newWorker() *cobra.Command {
	var f natsFlags
	var jobs int
	var once bool
	c := &cobra.Command{
		Use: workerCommand, Short: "Do tasks of studies that are offered on a NATS server", GroupID: "run", Args: cobra.NoArgs,
		Long: `Worker joins a NATS server and does tasks of whatever study is offered there, one
after another, until it is interrupted. It must be the same program as the one
that asks: another build may differ in the last digits, and is refused. Killing it
loses nothing: its tasks are given to others.`,
		Example: "  homeward worker --nats nats://10.0.0.7:4222 --token-file token\n  homeward worker --nats tls://build.example:4222 --tls-ca ca.pem --token-file token --jobs 16",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f.url == "" {
				return usagef("--nats: want the address of a server, such as nats://10.0.0.7:4222")
			}
			ctx, cancel := context.WithCancelCause(cmd.Context())
			defer cancel(nil)
			begin(ctx)
			closed := errors.New("the server is gone")
			options := []nats.Option{nats.MaxReconnects(-1)}
			if once {
				options = []nats.Option{nats.NoReconnect(), nats.ClosedHandler(func(*nats.Conn) { cancel(closed) })}
			}
			conn, err := f.connect("worker", options...)
			if err != nil {
				return err
			}
			defer conn.Close()
			err = sweep.Work(ctx, conn, doer, cmp.Or(jobs, runtime.GOMAXPROCS(0)), once)
			if once && errors.Is(err, closed) {
				return nil
			}
			return judgelessOf(err)
		},
	}
	f.add(c.Flags())
	c.Flags().IntVar(&jobs, "jobs", 0, "tasks at once (default one for each processor)")
	c.Flags().BoolVar(&once, "once", false, "end when the server does")
	_ = c.Flags().MarkHidden("once")
	return c
}

func judgelessOf(err error) error {
	if err == nil {
		return nil
	}
	return judgeless(err)
}

// doer opens a job: a study, its scenario, and the program that asks.
func doer(job []byte) (sweep.Do, error) {
	var text studyText
	if err := json.Unmarshal(job, &text); err != nil {
		return nil, fmt.Errorf("a job that is no study: %w", err)
	}
	self, err := ownProgram()
	if err != nil {
		return nil, err
	}
	if self != text.Program {
		return nil, lackingf("the study is asked by another build of homeward (%.8s) than this one (%.8s): its numbers might differ, want the same file", text.Program, self)
	}
	o, err := text.open()
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, body []byte) []byte { return study.Do(ctx, o.maker, body) }, nil
}

// sweepFlags say who does tasks.
type sweepFlags struct {
	nats            natsFlags
	workers         int
	listen          string
	tlsCert, tlsKey string
}

func (f *sweepFlags) add(fl *pflag.FlagSet) {
	fl.IntVar(&f.workers, "workers", 0, "so many processes instead of this one")
	fl.StringVar(&f.listen, "listen", "", "let workers join at this address; beyond loopback it wants TLS and a token")
	fl.StringVar(&f.tlsCert, "tls-cert", "", "certificate of --listen")
	fl.StringVar(&f.tlsKey, "tls-key", "", "key of --listen")
	f.nats.add(fl)
}

// start is what carries tasks, and how it ends.
func (f *sweepFlags) start(ctx context.Context, text *studyText, o *openedStudy, errs io.Writer) (sweep.Sweep, func(), error) {
	switch {
	case f.workers < 0 || f.workers > 1000:
		return nil, nil, usagef("--workers %d, want 1 to 1000", f.workers)
	case f.nats.url != "" && (f.listen != "" || f.workers > 0):
		return nil, nil, usagef("--nats joins a server that there is, --listen and --workers start one: want either")
	case f.workers == 0 && f.listen == "" && f.nats.url == "":
		return sweep.Local{Do: func(ctx context.Context, body []byte) []byte { return study.Do(ctx, o.maker, body) }}, func() {}, nil
	}
	job, err := json.Marshal(text)
	if err != nil {
		return nil, nil, err
	}
	var conn *nats.Conn
	end := func() {}
	var team *team
	if f.nats.url != "" {
		conn, err = f.nats.connect("coordinator")
	} else {
		var b *sweep.Broker
		if b, err = f.broker(); err != nil {
			return nil, nil, err
		}
		if f.listen != "" {
			f.invite(errs, b)
		}
		if conn, err = b.Connect(); err == nil && f.workers > 0 {
			team, err = startTeam(ctx, f.workers, b, errs)
		}
		end = func() {
			b.Close()
			team.wait()
		}
	}
	if err != nil {
		end()
		return nil, nil, err
	}
	r, err := sweep.NewRemote(conn, job)
	if err != nil {
		end()
		return nil, nil, judgeless(err)
	}
	if team != nil && f.listen == "" {
		r.Alive = team.alive
	}
	var told sync.Once
	r.Waiting = func() { told.Do(func() { fmt.Fprintln(errs, "waiting for workers to join") }) }
	return r, func() { _ = r.Close(); conn.Close(); end() }, nil
}

// invite says how workers join. A token that nobody chose is for this machine alone.
func (f *sweepFlags) invite(errs io.Writer, b *sweep.Broker) {
	join := "homeward worker --nats " + b.URL
	switch given, _ := f.nats.token(); {
	case given == "":
		join = tokenEnv + "=" + b.Token + " " + join
	case f.nats.tokenFile != "":
		join += " --token-file " + f.nats.tokenFile
	}
	if f.tlsCert != "" {
		join += " --tls-ca AUTHORITY"
	}
	fmt.Fprintf(errs, "workers join with: %s\n", join)
}

// broker is the server inside, on the loopback interface unless --listen says more.
func (f *sweepFlags) broker() (*sweep.Broker, error) {
	l := sweep.Listen{Address: f.listen}
	var err error
	if l.Token, err = f.nats.token(); err != nil {
		return nil, err
	}
	if f.tlsCert != "" || f.tlsKey != "" {
		pair, err := tls.LoadX509KeyPair(f.tlsCert, f.tlsKey)
		if err != nil {
			return nil, usagef("--tls-cert, --tls-key: %w", err)
		}
		l.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	}
	b, err := sweep.NewBroker(l)
	if errors.Is(err, sweep.ErrOpen) {
		return nil, usagef("--listen %s: %w (--tls-cert, --tls-key, --token-file)", f.listen, err)
	}
	if err != nil {
		return nil, lackingf("--listen %s: %w", f.listen, err)
	}
	return b, nil
}

// team are worker processes of this machine, which end with their server.
type team struct {
	mu    sync.Mutex
	left  int
	last  error
	group sync.WaitGroup
}

func startTeam(ctx context.Context, n int, b *sweep.Broker, errs io.Writer) (*team, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, judgeless(err)
	}
	t := &team{}
	for range n {
		cmd := exec.CommandContext(context.WithoutCancel(ctx), exe, workerCommand, "--once", "--jobs", "1", "--nats", b.URL)
		cmd.Env = append(os.Environ(), tokenEnv+"="+b.Token)
		var said strings.Builder
		cmd.Stderr = &said
		if err := cmd.Start(); err != nil {
			return t, judgeless(err)
		}
		t.left++
		t.group.Go(func() {
			err := cmd.Wait()
			t.mu.Lock()
			defer t.mu.Unlock()
			t.left--
			if err != nil {
				t.last = fmt.Errorf("%w %s", err, strings.TrimSpace(said.String()))
				fmt.Fprintf(errs, "a worker ended: %v; its tasks are done by others\n", t.last)
			}
		})
	}
	return t, nil
}

// alive is an error when no process is left.
func (t *team) alive() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.left == 0 {
		return fmt.Errorf("no worker is left: %w", t.last)
	}
	return nil
}

func (t *team) wait() {
	if t != nil {
		t.group.Wait()
	}
}
