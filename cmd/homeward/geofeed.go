package main

import (
	"github.com/spf13/cobra"

	"github.com/homeward-lab/homeward/dataplane/egress"
	"github.com/homeward-lab/homeward/topologies/spec"
)

func newGeofeed() *cobra.Command {
	var name string
	var sets []string
	cmd := &cobra.Command{
		Use: "geofeed FILE", Short: "Print where a scenario's egress addresses say that they are (RFC 8805)", GroupID: "write", Args: cobra.ExactArgs(1), ValidArgsFunction: completeScenarios(1),
		Long: `Geofeed prints the egress addresses with the countries that they are published
with, as geolocation databases read it (RFC 8805): a line for each prefix, as few
as name exactly the addresses. A country is an intention: it does not say where the
datacenter is. Addresses without a country are left out.`,
		Example: "  homeward geofeed dedicated_egress\n  homeward geofeed --variant scattered my.yaml | wc -l",
		RunE: func(cmd *cobra.Command, args []string) error {
			doc, err := open(args[0])
			if err != nil {
				return err
			}
			c, err := parseChanges(sets, 0, []string{name})
			if err != nil {
				return err
			}
			all, err := prepare(doc, c)
			if err != nil {
				return err
			}
			return egress.WriteGeofeed(cmd.OutOrStdout(), all[0].plan.Published())
		},
	}
	cmd.Flags().StringVar(&name, "variant", spec.Base, "which variant")
	cmd.Flags().StringArrayVar(&sets, "set", nil, "change the file: SELECTOR=VALUE")
	_ = cmd.RegisterFlagCompletionFunc("variant", completeVariants)
	return cmd
}
