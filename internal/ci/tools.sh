#!/bin/sh
# Install what the tests use as independent judges, from Debian, and say so.
# Nothing of this is needed to run homeward.
set -eu
want=""
need() { command -v "$1" >/dev/null 2>&1 || want="$want $2"; }
need tshark tshark
need curl curl
need tcpdump tcpdump
need dot graphviz
need ping iputils-ping
need iperf3 iperf3
need xz xz-utils
need dig bind9-dnsutils
need dnsmasq dnsmasq-base
need ssh openssh-client
need sshd openssh-server
need traceroute traceroute
need turnserver coturn
need clang-19 clang-19
need llvm-strip-19 llvm-19
need nft nftables
need bird bird2
need ip iproute2
need node nodejs # runs Mermaid's own parser, below
need mn mininet # what the lab's speed is compared with
need g++ g++    # compiles programs for ns-3 and SimGrid, below
[ -e /usr/lib/cni/bridge ] || want="$want containernetworking-plugins"
[ -e /usr/include/ns3/core-module.h ] || want="$want libns3-dev" # judges simulated TCP and links
[ -e /usr/include/simgrid/s4u.hpp ] || want="$want libsimgrid-dev" # judges links that are shared without packets
[ -e /usr/include/bpf/bpf_helpers.h ] || want="$want libbpf-dev"
# Mermaid is not in Debian: one file of its package on npm, which needs no other.
mermaid_version=11.12.2
mermaid_sum=c4ab1840638b1735135090c667382e89cc353b46b56761514a3d0a8a80963832
fetch_mermaid() {
	file=/usr/local/share/homeward-judges/mermaid-$mermaid_version.min.js
	[ ! -e "$file" ] || return 0
	echo "test tools: fetching mermaid $mermaid_version (npm)"
	package=$(mktemp -d)
	if curl -fsS --max-time 120 -o "$package/tgz" "https://registry.npmjs.org/mermaid/-/mermaid-$mermaid_version.tgz" &&
		echo "$mermaid_sum  $package/tgz" | sha256sum -c --quiet &&
		tar xzf "$package/tgz" -C "$package" package/dist/mermaid.min.js &&
		install -D -m 644 "$package/package/dist/mermaid.min.js" "$file"; then
		:
	else
		echo "cannot fetch mermaid; tests that need it are skipped by name" >&2
	fi
	rm -rf "$package"
}
if [ -z "$want" ]; then
	fetch_mermaid
	echo "test tools: all present"
	exit 0
fi
echo "test tools: installing$want (Debian packages; used by tests alone)"
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
	echo "cannot install here: as root on Debian run: apt-get install$want" >&2
	echo "tests that need them are skipped by name" >&2
	exit 0
fi
# sshd, turnserver and BIRD come with services. Tests want the programs alone: nothing
# may start on this machine, now or at its next boot.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
	trap 'rm -f "$policy"' EXIT
	printf '#!/bin/sh\nexit 101\n' >"$policy"
	chmod 755 "$policy"
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
# shellcheck disable=SC2086
apt-get install -y -qq --no-install-recommends $want >/dev/null
if command -v systemctl >/dev/null 2>&1; then
	for package in $want; do
		case $package in
		openssh-server) systemctl disable -q ssh.service ;;
		bird2) systemctl disable -q bird.service ;;
		coturn) systemctl disable -q coturn.service ;;
		esac
	done
fi
fetch_mermaid
