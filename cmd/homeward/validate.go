package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"
)

func newValidate() *cobra.Command {
	return &cobra.Command{
		Use: "validate FILE...", Short: "Check scenario files: every mistake at once, with its place", GroupID: "write", Args: cobra.MinimumNArgs(1), ValidArgsFunction: completeScenarios(0),
		Long: `Validate reads each file and compiles every variant, plan and checks included.
Nothing is started and no privilege is needed.

Exit code 0: all files are good. 2: mistakes, each with file:line:column.`,
		Example: "  homeward validate my.yaml\n  homeward validate topologies/*.yaml",
		RunE: func(cmd *cobra.Command, args []string) error {
			var bad []error
			for _, name := range args {
				doc, err := open(name)
				if err == nil {
					var vs []*variant
					if vs, err = prepare(doc, changes{}); err == nil {
						fmt.Fprintf(cmd.OutOrStdout(), "%s: ok (%s; %s)\n", name, count(len(vs), "variant"), count(len(vs[0].checks), "check"))
						continue
					}
				}
				bad = append(bad, err)
			}
			if len(bad) > 0 {
				return usage(errors.Join(bad...))
			}
			return nil
		},
	}
}

// count says "1 variant" or "3 variants".
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
