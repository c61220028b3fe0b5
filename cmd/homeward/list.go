package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/homeward-lab/homeward/topologies"
)

func newList() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use: "list", Short: "List the shipped scenarios and their variants", GroupID: "write", Args: cobra.NoArgs,
		Example: "  homeward list\n  homeward list --json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			type row struct {
				Name     string   `json:"name"`
				Title    string   `json:"title"`
				Variants []string `json:"variants"`
			}
			var rows []row
			shipped, err := topologies.All()
			if err != nil {
				return judgeless(err)
			}
			for _, s := range shipped {
				doc, err := topologies.Load(s.Name)
				if err != nil {
					return judgeless(err)
				}
				rows = append(rows, row{s.Name, s.Title, doc.Variants()})
			}
			if asJSON {
				enc := json.NewEncoder(cmd.OutOrStdout())
				enc.SetIndent("", "  ")
				return enc.Encode(rows)
			}
			tw := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			for _, r := range rows {
				fmt.Fprintf(tw, "%s\t%s\n\tvariants: %s\n", r.Name, r.Title, strings.Join(r.Variants, ", "))
			}
			return tw.Flush()
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}
