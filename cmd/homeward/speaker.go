//go:build linux

package main

import (
	"os"

	"github.com/spf13/cobra"

	"github.com/homeward-lab/homeward/emu/speaker"
)

// speakerCommand is the hidden subcommand that speaks BGP for a router of a lab.
const speakerCommand = "speaker"

func newSpeaker() *cobra.Command {
	return &cobra.Command{
		Use: speakerCommand, Hidden: true, Args: cobra.NoArgs,
		Short: "Speak BGP (started by the lab)",
		RunE: func(*cobra.Command, []string) error {
			if err := speaker.Main(os.Stdin, os.Stdout); err != nil {
				return judgeless(err)
			}
			return nil
		},
	}
}
