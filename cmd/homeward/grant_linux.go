package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/user"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/homeward-lab/homeward/emu/grant"
	"github.com/homeward-lab/homeward/emu/userns"
)

// grantEnv names another socket for grants than the machine's.
const grantEnv = "HOMEWARD_GRANT"

func grantSocket() string { return cmp.Or(os.Getenv(grantEnv), grant.Socket) }

func newGrant() *cobra.Command {
	var name string
	c := &cobra.Command{
		Use: "grant", Short: "Let a user without root have the eBPF dataplane (as root, until it ends)", GroupID: "machine", Args: cobra.NoArgs,
		Long: `Grant lets one user load eBPF programs inside of user namespaces of their own,
by a BPF token (Linux 6.9). Labs of that user then have tunnels and servers in
the kernel as labs of root have, and nothing outside of them changes. It serves
until it is interrupted; labs that are up go on then.

Without --user it is who called sudo.`,
		Example: "  sudo homeward grant\n  sudo homeward grant --user alice &",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if os.Geteuid() != 0 {
				return lacking(errors.New("root alone can grant: sudo homeward grant"))
			}
			id, err := grantee(name)
			if err != nil {
				return usage(err)
			}
			begin(cmd.Context())
			err = grant.Serve(cmd.Context(), grantSocket(), id, func() {
				fmt.Fprintf(cmd.OutOrStdout(), "user %d may load eBPF programs in user namespaces, until this ends (Ctrl-C)\n", id)
			})
			if err != nil {
				return lacking(err)
			}
			return nil
		},
	}
	c.Flags().StringVar(&name, "user", "", "name or number of the user (default who called sudo)")
	_ = c.RegisterFlagCompletionFunc("user", cobra.NoFileCompletions)
	return c
}

// grantee is the number of the user.
func grantee(name string) (uint32, error) {
	if name == "" {
		name = os.Getenv("SUDO_UID")
	}
	if name == "" {
		return 0, fmt.Errorf("to whom? --user NAME, or call it by sudo")
	}
	if u, err := user.Lookup(name); err == nil {
		name = u.Uid
	}
	id, err := strconv.ParseUint(name, 10, 32)
	if err != nil || id == 0 {
		return 0, fmt.Errorf("--user %s: want the name or number of a user other than root", name)
	}
	return uint32(id), nil
}

// askedEnv says that the namespace's first process has asked for a grant.
const askedEnv = "HOMEWARD_GRANT_ASKED"

// askGrant gets the right to load eBPF programs if root grants it, before anything
// is loaded. Without it labs do as well as they can, and doctor says what is missing.
func askGrant() {
	if !userns.Inside() || os.Getenv(askedEnv) != "" {
		return
	}
	if os.Setenv(askedEnv, "1") != nil {
		return
	}
	if _, err := os.Stat(grantSocket()); err != nil {
		return
	}
	if err := grant.Ask(grantSocket()); err != nil {
		fmt.Fprintf(os.Stderr, "no grant for eBPF: %v\n", err)
	}
}
