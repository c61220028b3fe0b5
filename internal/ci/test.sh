#!/bin/sh
# Every test, in tiers. A tier that ran no test fails. Where CI is set, a test
# may not skip for want of root, eBPF or a tool; for want of netem, which few
# kernels of virtual machines have, it may.
set -eu
cd "$(dirname "$0")/../.."
GO=${GO:-go}
if [ -n "${CI:-}" ]; then
	HOMEWARD_REQUIRE=${HOMEWARD_REQUIRE:-root,bpf,tools,userns,schedstat}
	export HOMEWARD_REQUIRE
fi
log=$(mktemp)
trap 'rm -f "$log" "$log.alone"' EXIT
passed=0 failed=0 skipped=0 unsteady=0 live=

# alone runs again, one by one, the tests that failed in $log, and counts those that
# now pass as unsteady. Labs share this machine's few cores with whatever is tested
# beside them, so that once is no verdict; but many at once, or a panic, are one.
alone() {
	failing=$(awk '/^--- FAIL/ {n = n " " $3} /^FAIL\t/ {split(n, t); for (i in t) print $2, t[i]; n = ""}' "$log")
	if [ "$(echo "$failing" | wc -l)" -gt 8 ] || grep -q -E '^panic:|\[(build|setup) failed\]|^WARNING: DATA RACE' "$log"; then
		return 0
	fi
	again=0
	while read -r package test; do
		echo "   $test once more, alone:"
		if $GO test -count=1 -timeout 5m -run "^$test\$" "$package" >"$log.alone" 2>&1 && ! grep -q 'no tests to run' "$log.alone"; then
			echo "   passed: unsteady, which is worth a look"
			again=$((again + 1))
		else
			tail -n 60 "$log.alone" | short
		fi
	done <<-END
		$failing
	END
	f=$((f - again)) unsteady=$((unsteady + again))
	[ "$f" != 0 ] || ok=0
}

# short cuts lines that nobody reads to their end: one can be a whole structure.
short() { cut -c1-400; }

# said LOG: the end of what each failed test of it has said, subtests too, which may be
# far above; of each alone, so that none's is lost behind another's.
said() {
	awk '/^=== / {test = $3; next}
		/^ *--- FAIL/ {failed[++n] = $3}
		/^ *--- |^FAIL|^ok/ {next}
		{line[test, ++lines[test]] = $0}
		END {
			for (i = 1; i <= n; i++) {
				f = failed[i]
				print f " said"
				for (j = lines[f] > 40 ? lines[f] - 39 : 1; j <= lines[f]; j++) print line[f, j]
			}
		}' "$1" | short
}

# tier NAME ARGS...: go test with ARGS; counts top-level tests.
tier() {
	name=$1
	shift
	echo "== $name"
	ok=0
	$GO test -v -count=1 -shuffle=on "$@" >"$log" 2>&1 || ok=$?
	p=$(grep -c '^--- PASS' "$log" || true)
	f=$(grep -c '^--- FAIL' "$log" || true)
	s=$(grep -c '^--- SKIP' "$log" || true)
	echo "   $p passed, $f failed, $s skipped"
	if [ "$s" -gt 0 ]; then
		grep -B1 '^--- SKIP' "$log" | grep -v '^--$' | sed 's/^/   /'
	fi
	if [ "$ok" != 0 ] || [ "$f" != 0 ]; then
		grep -E -A20 '^ *--- FAIL|^(FAIL|panic:|WARNING: DATA RACE)|\[build failed\]' "$log" | grep -v -E '^(=== |--- PASS|ok )' | short | tail -n 200
		said "$log" | tail -n 400
		[ -z "$live" ] || [ "$f" = 0 ] || alone
		[ "$ok" = 0 ] || [ "$f" != 0 ] || f=1
	fi
	passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
	if [ "$p" = 0 ]; then
		echo "   no test ran in this tier: that is a failure"
		failed=$((failed + 1))
	fi
}

echo "== format and vet"
unformatted=$(gofmt -l $(git ls-files '*.go'))
[ -z "$unformatted" ] || { echo "gofmt would change: $unformatted"; exit 1; }
$GO vet ./...

# The race detector makes what it watches several times slower, and finds what
# goroutines do to one another: where a package or its tests have any.
unit="./dataplane/... ./sim/... ./topologies/... ./reports/... ./internal/..."
meeting=$($GO list -f '{{.ImportPath}} {{join .Imports " "}} {{join .TestImports " "}} {{join .XTestImports " "}} ' $unit |
	grep -E ' (sync|sync/atomic|golang.org/x/sync/[a-z]+|testing/synctest) ' | cut -d' ' -f1)
rest=$($GO list $unit | grep -vxF "$meeting")
tier "unit, goroutines: race detector" -race $meeting
tier "unit (no privilege)" $rest
# Labs wait more than they work: the command line's tests go beside all others.
live=yes
tier "command line, kernel and lab (root, eBPF)" -timeout 30m ./cmd/... ./bpf/... ./emu/...

echo "== benchmarks, once each: they must work"
$GO test -run '^$' -bench . -benchtime=1x ./... >"$log" 2>&1 || { tail -50 "$log"; failed=$((failed + 1)); }
echo "   $(grep -c '^Benchmark' "$log" || true) ran"

if command -v clang-19 >/dev/null 2>&1; then
	echo "== what is generated is what is committed"
	before=$(git status --porcelain)
	$GO generate ./bpf/... >"$log" 2>&1 || { cat "$log"; failed=$((failed + 1)); }
	if [ "$(git status --porcelain)" != "$before" ]; then
		git --no-pager diff --stat
		echo "   make generate changes files: commit what it makes"
		failed=$((failed + 1))
	fi
elif [ -n "${CI:-}" ]; then
	echo "   clang-19 is missing, so generated objects cannot be compared"
	failed=$((failed + 1))
fi

echo "$passed passed, $failed failed, $unsteady unsteady, $skipped skipped"
[ "$failed" = 0 ]
