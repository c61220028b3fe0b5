//go:build linux

package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/homeward-lab/homeward/emu/userns"
)

type argsKey struct{}

// withArgs remembers the command line.
func withArgs(ctx context.Context, args []string) context.Context {
	return context.WithValue(ctx, argsKey{}, args)
}

// rootless runs the whole command again in a user namespace if this is neither
// root nor inside of one already. done says that it was run, and err then holds
// its exit code.
func rootless(cmd *cobra.Command) (done bool, err error) {
	if !userns.Needed() {
		return false, nil
	}
	args, _ := cmd.Context().Value(argsKey{}).([]string)
	begin(cmd.Context()) // signals are passed on
	code, err := userns.Run(args)
	switch {
	case err != nil:
		return true, lacking(err)
	case code != 0:
		return true, &exit{code, nil}
	}
	return true, nil
}
