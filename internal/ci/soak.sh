#!/bin/sh
# Long repetitions, as root: 200 runs of the shipped scenarios without a false
# failure, runs in a row and at once with equal verdicts, 20 agreements of
# simulator and labs on all of them, and SIGKILL of each kind of process at 200
# random moments, after each of which the machine must be as it was and the next
# run work. Hours; the tests have a short form of each.
set -eu
cd "$(dirname "$0")/../.."
HOMEWARD_REQUIRE=root,tools HOMEWARD_TOPOLOGIES=20 ${GO:-go} test -v -count=1 -timeout 1h -run 'Agree' ./emu/speaker
HOMEWARD_REQUIRE=root,bpf HOMEWARD_SOAK=1 exec ${GO:-go} test -v -count=1 -timeout 6h -run 'Soak' ./cmd/...
