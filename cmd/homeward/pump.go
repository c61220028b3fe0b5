//go:build linux

package main

import (
	"os"

	"github.com/spf13/cobra"

	"github.com/homeward-lab/homeward/emu/pump"
)

// pumpCommand is the hidden subcommand that the lab starts where impaired links meet.
const pumpCommand = "pump"

func newPump() *cobra.Command {
	return &cobra.Command{
		Use: pumpCommand, Hidden: true, Args: cobra.NoArgs,
		Short: "Carry packets across impaired links (started by the lab)",
		RunE: func(*cobra.Command, []string) error {
			if err := pump.Main(os.Stdin, os.Stdout); err != nil {
				return judgeless(err)
			}
			return nil
		},
	}
}
