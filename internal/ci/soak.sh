#!/bin/sh
# Long repetitions, as root: 20 runs in a row with equal verdicts, two at once,
# and SIGKILL at random moments, after each of which the machine must be as it was.
set -eu
cd "$(dirname "$0")/../.."
HOMEWARD_REQUIRE=root,bpf HOMEWARD_SOAK=1 exec ${GO:-go} test -v -count=1 -timeout 60m -run 'Soak' ./cmd/...
