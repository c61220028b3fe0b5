package archtest

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// On systems without labs there is still the simulator, and what reads results:
// the program builds, and all but the lab is sound, tests included.
func TestBuildsElsewhere(t *testing.T) {
	for _, system := range []string{"darwin", "windows"} {
		for _, args := range [][]string{
			{"build", "-ldflags=-w", "-o", filepath.Join(t.TempDir(), "homeward"), "./cmd/homeward"},
			{"vet", "./cmd/...", "./dataplane/...", "./internal/...", "./reports/...", "./sim/...", "./topologies/..."},
		} {
			cmd := exec.Command("go", args...)
			cmd.Dir = "../.."
			cmd.Env = append(os.Environ(), "GOOS="+system, "CGO_ENABLED=0")
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("GOOS=%s go %s: %v\n%s", system, args[0], err, out)
			}
		}
	}
}
