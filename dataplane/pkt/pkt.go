// Package pkt parses and rewrites packets: headers from gVisor, checksums by
// difference (RFC 1624). Parsing never fails and never allocates; what it
// cannot read it calls unknown.
package pkt
