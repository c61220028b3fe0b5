package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// release is this version; a build from a checkout adds the commit.
const release = "0.1.0"

func newVersion() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the versions that results depend on", GroupID: "machine", Args: cobra.NoArgs,
		Example: "  homeward version",
		Run: func(cmd *cobra.Command, _ []string) {
			v := versions()
			fmt.Fprintf(cmd.OutOrStdout(), "homeward %s\n%s %s/%s\nkernel %s\n", v["homeward"], v["go"], runtime.GOOS, runtime.GOARCH, v["kernel"])
		},
	}
}

// versions go into every run.json.
func versions() map[string]string {
	v := map[string]string{"homeward": release, "go": runtime.Version(), "kernel": kernel()}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" && len(s.Value) >= 12 {
				v["homeward"] = release + "+" + s.Value[:12]
			}
		}
	}
	return v
}
