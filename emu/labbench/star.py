"""A star of mininet hosts, for comparison: one in the middle, a link to each of
the others. Reads nothing but a line that tells it to go down; all figures are
its own clock's, without the interpreter's start."""
import sys
import time

from mininet.log import setLogLevel
from mininet.net import Mininet

setLogLevel("critical")
leaves = int(sys.argv[1]) - 1

start = time.monotonic()
net = Mininet(controller=None, build=False)
hub = net.addHost("hub", ip=None)
hosts = []
for i in range(leaves):
    subnet = "10.%d.%d" % (i >> 8, i & 255)
    leaf = net.addHost("h%d" % i, ip=subnet + ".2/24")
    net.addLink(hub, leaf, intfName1="eth%d" % i, intfName2="eth0", params1={"ip": subnet + ".1/24"})
    hosts.append(leaf)
net.build()
print("up", time.monotonic() - start, flush=True)
print("pids", " ".join(str(h.pid) for h in hosts), flush=True)

sys.stdin.readline()
start = time.monotonic()
net.stop()
print("down", time.monotonic() - start, flush=True)
