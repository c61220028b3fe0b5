//go:build linux

package main

import (
	"os"

	"github.com/spf13/cobra"

	"github.com/homeward-lab/homeward/emu/agent"
)

// agentCommand is the hidden subcommand that the lab starts in each server's namespace.
const agentCommand = "agent"

func newAgent() *cobra.Command {
	return &cobra.Command{
		Use: agentCommand, Hidden: true, Args: cobra.NoArgs,
		Short: "Serve one edge server (started by the lab)",
		RunE: func(*cobra.Command, []string) error {
			if err := agent.Main(os.Stdin, os.Stdout); err != nil {
				return judgeless(err)
			}
			return nil
		},
	}
}
