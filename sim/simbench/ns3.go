package simbench

import (
	"context"
	_ "embed"
)

//go:embed ns3/ns3.cc
var ns3Source []byte

// BuildNS3 makes the program of ns3/ns3.cc.
func BuildNS3(ctx context.Context) (*Judge, error) {
	return recipe{
		name: "ns-3", version: "3.37", source: ns3Source, packet: "libns3-dev",
		header: "/usr/include/ns3/core-module.h", library: "libns3-core.so.37",
		flags: []string{"-lns3-core", "-lns3-network", "-lns3-internet", "-lns3-point-to-point", "-lns3-traffic-control", "-lns3-applications"},
	}.build(ctx)
}
