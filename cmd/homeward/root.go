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
namespaces, real TCP and a real dataplane, or the same in virtual time, and then
a report.`,
		Example: `  homeward list                             what is shipped
  sudo homeward run overlapping_branches    run it for real, write a report
  homeward validate my.yaml                 every mistake of a file at once
  homeward show overlapping_branches        what would be built
  homeward explain out/DIR same#1           the life of one flow
  homeward doctor                           what this machine can do`,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.AddGroup(&cobra.Group{ID: "run", Title: "Run and understand:"}, &cobra.Group{ID: "lab", Title: "A lab by hand:"}, &cobra.Group{ID: "write", Title: "Write scenarios:"}, &cobra.Group{ID: "machine", Title: "This machine:"})
	root.AddCommand(newRun(), newDemo(), newExplain(), newSessions(), newDiff(), newSwarm(), newCatchment(), newFit(), newStudy(), newWorker(), newBench(),
		newList(), newValidate(), newShow(), newExport(), newGeofeed(), newSchema(),
		newVersion())
	root.AddCommand(machineCommands()...)
	root.AddCommand(labCommands()...)
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	for _, c := range root.Commands() {
		switch c.Name() {
		case "help":
			c.Run, c.RunE = nil, help
		case "completion": // for a shell that cobra does not know
			c.Args, c.RunE = cobra.NoArgs, func(c *cobra.Command, _ []string) error { return c.Help() }
		}
	}
	return root
}

// help is cobra's, but an unknown topic is a mistake.
func help(c *cobra.Command, args []string) error {
	topic, _, err := c.Root().Find(args)
	if err != nil {
		return err
	}
	topic.InitDefaultHelpFlag()
	return topic.Help()
}
