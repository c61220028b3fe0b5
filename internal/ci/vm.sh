#!/bin/sh
# The lab on another kernel: Debian's own (6.1: with sch_netem, without tcx), in an
# emulated machine whose clock counts instructions, so that a busy host makes it no
# slower by its own clock. What most kernels of virtual machines lack, netem, is
# tested there. Needs Debian packages, which `make vm` does not install:
#   apt-get install qemu-system-x86 busybox-static iputils-ping
# vm.sh COMMAND... runs COMMAND in it instead (a POSIX shell's, with homeward and
# netem.test); exit code 3 where something is missing.
set -eu
cd "$(dirname "$0")/../.."
for program in qemu-system-x86_64 busybox ping apt-get dpkg-deb; do
	command -v $program >/dev/null || { echo "vm.sh: $program is missing: apt-get install qemu-system-x86 busybox-static iputils-ping" >&2; exit 3; }
done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root

# The newest of Debian's kernels for virtual machines, unpacked and not installed.
package=$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/.*Depends: //p' | head -1)
[ -n "$package" ] || { echo "vm.sh: no linux-image-cloud-amd64: run apt-get update" >&2; exit 3; }
(cd "$work" && apt-get -q download "$package" 2>"$work/apt" >&2) || { cat "$work/apt" >&2; exit 3; }
dpkg-deb -x "$work"/*.deb "$work/kernel"
version=$(ls "$work/kernel/lib/modules")

mkdir -p "$root/bin" "$root/sbin" "$root/lib/modules/$version"
cp "$(command -v busybox)" "$root/bin/busybox"
modules=$work/kernel/lib/modules/$version
for part in net/sched net/8021q net/802 drivers/net/veth.ko drivers/net/tun.ko drivers/net/dummy.ko; do
	mkdir -p "$root/lib/modules/$version/kernel/$(dirname $part)"
	cp -r "$modules/kernel/$part" "$root/lib/modules/$version/kernel/$part"
done
cp "$modules"/modules.* "$root/lib/modules/$version/"
busybox depmod -b "$root" "$version"
for file in $(command -v ping) $(ldd "$(command -v ping)" | grep -o '/[^ ]*'); do
	mkdir -p "$root$(dirname "$file")"
	cp -L "$file" "$root$file"
done
export CGO_ENABLED=0
${GO:-go} test -c -o "$root/bin/netem.test" ./emu/netem
${GO:-go} build -ldflags '-s -w' -o "$root/bin/homeward" ./cmd/homeward

cat >"$root/init" <<'END'
#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev /tmp /run /root
/bin/busybox --install -s /bin
export PATH=/bin:/usr/bin:/sbin HOME=/root TERM=dumb HOMEWARD_REQUIRE=root,tools,netem
ln -s /bin/busybox /sbin/modprobe
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs tmp /tmp
mount -t tmpfs run /run
ln -s /proc/self/fd /dev/fd
modprobe veth
modprobe tun
ip link set lo up
cd /tmp
sh -e /commands
echo "vm: exit $?"
poweroff -f
END
chmod +x "$root/init"
if [ $# -gt 0 ]; then
	echo "$*" >"$root/commands"
else
	cp internal/ci/vm-commands.sh "$root/commands"
fi
(cd "$root" && find . | busybox cpio -o -H newc 2>/dev/null) >"$work/initrd"

# -icount: one instruction is one nanosecond, and idle time is skipped.
qemu-system-x86_64 -accel tcg,thread=single -icount shift=0,sleep=off -cpu max -M q35 -m 2048 -nic none \
	-nographic -no-reboot -kernel "$work"/kernel/boot/vmlinuz-* -initrd "$work/initrd" \
	-append "console=ttyS0 quiet panic=-1 tsc=reliable" </dev/null | tr -d '\r' | sed 's/^.*\x1b\[[0-9;]*[A-Za-z]//' | tee "$work/said"
code=$(sed -n 's/^vm: exit //p' "$work/said")
exit "${code:-5}"
