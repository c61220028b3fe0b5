package main

import (
	"github.com/spf13/cobra"

	"github.com/homeward-lab/homeward/topologies/load"
)

func newSchema() *cobra.Command {
	var studies bool
	c := &cobra.Command{
		Use: "schema", Short: "Print the JSON Schema of the scenario language, for editors", GroupID: "write", Args: cobra.NoArgs,
		Long: `Schema prints the JSON Schema of scenario files. An editor with the YAML language
server (VS Code with the YAML extension, Neovim, Helix, Emacs, Zed) completes
words, explains them and underlines mistakes, given as a file's first line

  # yaml-language-server: $schema=homeward.schema.json`,
		Example: `  homeward schema > homeward.schema.json
  homeward schema | jq '.["$defs"].Traffic.properties | keys'`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			schema := load.Schema
			if studies {
				schema = load.StudySchema
			}
			data, err := schema()
			if err != nil {
				return judgeless(err)
			}
			_, err = cmd.OutOrStdout().Write(data)
			return err
		},
	}
	c.Flags().BoolVar(&studies, "study", false, "of study files instead")
	return c
}
