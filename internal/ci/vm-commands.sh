# What internal/ci/vm.sh tries on the other kernel, in the shell of busybox.
set +e
passed=0 failed=0
# try NAME COMMAND...: COMMAND has to end well; what it says is shown where it does not.
try() {
	name=$1
	shift
	if "$@" >said 2>&1; then
		passed=$((passed + 1))
		echo "pass  $name"
	else
		failed=$((failed + 1))
		echo "FAIL  $name"
		cat said
	fi
}
says() { homeward doctor | grep -Eq "$1"; }
# engine TEXT ARGS...: a run of ARGS holds, and its run.json says TEXT.
engine() {
	text=$1
	shift
	homeward run "$@" --on emu-hub --variant base --out out && grep -q "$text" out/*/base/emu-hub/run.json
	ended=$?
	rm -rf out
	return $ended
}
cat >lossy.yaml <<'END'
version: 1
name: lossy
datacenters: [{id: lhr, egress: [198.51.100.0/32]}]
sites: [{id: shop, lan: 10.0.1.0/24, hosts: {till: 10.0.1.5}, onramps: [{id: wan, type: gre, arr: true}]}]
internet: [{id: web, address: 203.0.113.9, near: lhr, serve: [echo]}]
links: {access: {delay: 10ms, loss: 20%}}
traffic: [{id: beat, from: shop.*.till, to: web, udp: 7, packets: 100, interval: 5ms, connect: 3s}]
checks: [{id: there, expect: "beat.total == 1 and all.misdelivered == 0"}]
END
uname -sr
try "doctor: netem is there" says '^ok +netem '
try "doctor: tcx is not, by the Linux that it takes" says '^absent +tcx .*6\.6'
try "netem delays, loses and is changed, by the meter at the link's own ends" netem.test -test.run Live -test.v
try "overlapping_branches without tcx" engine '"wire": "veth"' overlapping_branches
try "branch_failover, links by the pump" engine 'impaired links by a userspace pump' branch_failover
try "branch_failover, links by netem" engine 'impaired links by the kernel (netem)' branch_failover --wire netem
try "a link that loses, by netem: counted and measured as asked" engine '"lost": [1-9]' lossy.yaml --wire netem
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
