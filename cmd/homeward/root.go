package main

import (
	"github.com/spf13/cobra"
)

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "homeward",
		Short: "A testbed for networks whose replies must find their way home",
		Long: `Homeward runs networks in which addresses do not say where a reply belongs:
branches that all use 10.0.1.0/24 (Automatic Return Routing), egress addresses
that live in no machine (soft-unicast). One scenario file becomes a lab of real
namespaces, real TCP and a real dataplane, and then a report.`,
		Example: `  homeward list                             what is shipped
  sudo homeward run overlapping_branches    run it for real, write a report
  homeward validate my.yaml                 every mistake of a file at once
  homeward show overlapping_branches        what would be built
  homeward explain out/DIR same#1           the life of one flow
  homeward doctor                           what this machine can do`,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.CompletionOptions.HiddenDefaultCmd = false
	root.AddGroup(&cobra.Group{ID: "run", Title: "Run and understand:"}, &cobra.Group{ID: "write", Title: "Write scenarios:"}, &cobra.Group{ID: "machine", Title: "This machine:"})
	root.AddCommand(newRun(), newExplain(), newBench(),
		newList(), newValidate(), newShow(), newSchema(),
		newDoctor(), newVersion(), newAgent())
	return root
}
