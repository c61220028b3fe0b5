package archtest

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// On systems without labs there is still the simulator, and what reads results.
func TestBuildsElsewhere(t *testing.T) {
	for _, system := range []string{"darwin", "windows"} {
		cmd := exec.Command("go", "build", "-o", filepath.Join(t.TempDir(), "homeward"), "./cmd/homeward")
		cmd.Dir = "../.."
		cmd.Env = append(os.Environ(), "GOOS="+system, "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("GOOS=%s: %v\n%s", system, err, out)
		}
	}
}
