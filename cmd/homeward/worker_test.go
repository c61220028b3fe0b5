//go:build linux

package main

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const sweptStudy = `
version: 1
name: swept
scenario: rush_hour
level: packets
vary: [{set: seed, values: [1, 2, 3, 4, 5, 6]}]
replicas: {seeds: 4}
measures: [rush.ok]
`

// pair writes a certificate of 127.0.0.1, which is its own authority, and its key.
func pair(t *testing.T, dir string) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for file, b := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(b), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

// lines is what a command says on standard error, line by line. It is read to its end.
func lines(t *testing.T, cmd *exec.Cmd) <-chan string {
	t.Helper()
	pipe, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	said := make(chan string, 100)
	go func() {
		defer close(said)
		for r := bufio.NewScanner(pipe); r.Scan(); {
			select {
			case said <- r.Text():
			default:
			}
		}
		_, _ = io.Copy(io.Discard, pipe)
	}()
	return said
}

// joining starts a worker as the study's invitation says, with the certificate's
// authority.
func joining(t *testing.T, invitation, ca string) *exec.Cmd {
	t.Helper()
	_, words, ok := strings.Cut(invitation, "homeward worker ")
	if !ok {
		t.Fatalf("the study says %q, want how to join", invitation)
	}
	cmd := homeward(append([]string{workerCommand, "--jobs", "1"}, strings.Fields(strings.Replace(words, "AUTHORITY", ca, 1))...)...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return cmd
}

// TestSweepWithAWorkerKilled: a study lets workers join over TLS and with a token, one
// of two is killed with a task in its hands, and the report has the same bytes as that
// of one process alone.
func TestSweepWithAWorkerKilled(t *testing.T) {
	dir := t.TempDir()
	file, token := filepath.Join(dir, "swept.yaml"), filepath.Join(dir, "token")
	for name, text := range map[string]string{file: sweptStudy, token: "known to all\n"} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cert, key := pair(t, dir)
	alone, swept := filepath.Join(dir, "alone"), filepath.Join(dir, "swept")
	if out, err := homeward("study", file, "--out", alone).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	study := homeward("study", file, "--out", swept, "--listen", "127.0.0.1:0", "--token-file", token, "--tls-cert", cert, "--tls-key", key)
	said := lines(t, study)
	if err := study.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = study.Process.Kill() })
	invitation := <-said
	victim := joining(t, invitation, cert)
	answers := filepath.Join(swept, "answers.jsonl")
	for count := 0; count < 3; time.Sleep(5 * time.Millisecond) { // it has done some, and has one at hand
		text, err := os.ReadFile(answers)
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		count = bytes.Count(text, []byte("\n"))
	}
	if err := victim.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(answers)
	if err != nil {
		t.Fatal(err)
	}
	joining(t, invitation, cert)
	for line := range said {
		t.Log(line)
	}
	if err := study.Wait(); err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(before, []byte("\n")); n >= 24 {
		t.Errorf("the first worker had done %d tasks when it was killed, want some left", n)
	}
	for _, name := range []string{"study.json", "report.html", "data/points.csv", "data/points.parquet"} {
		a, errA := os.ReadFile(filepath.Join(alone, name))
		b, errB := os.ReadFile(filepath.Join(swept, name))
		if errA != nil || errB != nil || !bytes.Equal(a, b) {
			t.Errorf("%s: %d bytes alone, %d by workers of which one was killed: want the same (%v, %v)", name, len(a), len(b), errA, errB)
		}
	}
}
