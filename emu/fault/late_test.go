package fault

import (
	"strings"
	"testing"
	"time"
)

// A fault that is much too late makes what was lost meanwhile no verdict; one that
// takes as long as it always does is none.
func TestTardy(t *testing.T) {
	for late, want := range map[time.Duration]string{
		-time.Second: "", 0: "", lateMost: "",
		401 * time.Millisecond: "it has healed 400ms later than planned",
	} {
		if got := tardy("healed", late); (got == "") != (want == "") || !strings.HasPrefix(got, want) {
			t.Errorf("%v late: %q, want %q", late, got, want)
		}
	}
}
