#!/bin/sh
# Long repetitions, as root, in two rows side by side: SIGKILL of each kind of
# process at 200 random moments, one of each kind at once, after which the machine
# must be as it was and the next runs work; and 200 labs of the shipped scenarios
# without a false failure, runs in a row and at once with equal verdicts, 20
# agreements of simulator and labs on all of them, a million flows over 31 slices. The
# tests have a short form of each. On two processors the kills take half an hour, the
# labs one, an agreement of everything six minutes (where memory and system calls are
# dear, fourteen), the flows a minute.
#
#   HOMEWARD_SOAK_ONLY=kill, labs or agree   one part
#   HOMEWARD_SOAK_KILL=20-200                these kills, counted from 0: each line says
#   HOMEWARD_SOAK_RUNS=20-200                what is left, so that it can be taken up again;
#                                            a number alone is how many
#   HOMEWARD_SOAK_AGREE=3-20                 these agreements of everything, counted from 0: of
#                                            twenty rounds, the fourth to the last
#   HOMEWARD_SOAK_JOBS=2                     how many labs at once where agreement is asked;
#                                            as many as there is processor time for
#   HOMEWARD_SOAK_LOG=FILE                   outcomes are added to it; the table at the end is of it
#   HOMEWARD_SOAK_ROUNDS=1                   how many rows of equal verdicts, and agreements
#   HOMEWARD_SOAK_SCENARIOS="merger geofence"   these alone
#   HOMEWARD_TOPOLOGIES=3                    how many drawn topologies BGP has to agree on
set -eu
cd "$(dirname "$0")/../.."
GO=${GO:-go}
only=${HOMEWARD_SOAK_ONLY:-}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
if [ -z "${HOMEWARD_SOAK_LOG:-}" ]; then
	mkdir -p out
	HOMEWARD_SOAK_LOG=$PWD/out/agreement.jsonl
	[ -n "${HOMEWARD_SOAK_AGREE:-}" ] || rm -f "$HOMEWARD_SOAK_LOG" # not taken up again
fi
export HOMEWARD_SOAK_LOG
export HOMEWARD_REQUIRE=${HOMEWARD_REQUIRE:-root,bpf,tools} HOMEWARD_SOAK=1 HOMEWARD_TOPOLOGIES=${HOMEWARD_TOPOLOGIES:-20}
$GO test -c -o "$work/kill" ./cmd/homeward
$GO test -c -o "$work/routes" ./emu/speaker
$GO test -c -o "$work/flows" ./emu/agent
# What is left behind is looked for by the binary: each row has its own.
cp "$work/kill" "$work/labs"
cp "$work/kill" "$work/agree"

# soak ROW DIR TESTS: a row's tests, each line with its name; failed rows are in $work/failed.
soak() {
	row=$1 dir=$2 tests=$3
	[ -z "$only" ] || [ "$only" = "${4:-$row}" ] || return 0
	mkdir -p "$work/$row.tmp"
	{ (cd "$dir" && TMPDIR="$work/$row.tmp" "$work/$row" -test.v -test.timeout 12h -test.run "$tests") 2>&1 || echo "$row" >>"$work/failed"; } |
		tee "$work/$row.log" | sed -u "s/^ *[a-z_]*_test.go:[0-9]*: /  /; s/^/$row /"
}
soak kill cmd/homeward 'Soak.*Kill' &
soak labs cmd/homeward 'SoakNoFalseFailure|SoakSameVerdicts'
soak agree cmd/homeward 'SoakAgreement'
soak routes emu/speaker 'Agree' agree
soak flows emu/agent 'PortOwnership' labs
wait
echo "== soak"
grep -hE 'repetitions, from|labs by verdict|seconds by part|^ *--- ' "$work"/*.log || true
sed -n '/rounds by scenario and variant/,/^ *--- /p' "$work"/agree.log 2>/dev/null || true
if [ -e "$work/failed" ]; then
	echo "failed: $(tr '\n' ' ' <"$work/failed")"
	exit 1
fi
