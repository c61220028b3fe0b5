package host

import (
	"encoding/binary"
	"time"
)

// timespec reads a struct timespec of a 64-bit kernel.
func timespec(b []byte) (time.Time, bool) {
	if len(b) < 16 {
		return time.Time{}, false
	}
	return time.Unix(int64(binary.NativeEndian.Uint64(b)), int64(binary.NativeEndian.Uint64(b[8:]))), true
}
