// The baseline of `homeward bench sim` and the judge of its tests: the same
// models in ns-3. Each mode prints one line of "name value" pairs.
//
//   hold PENDING EVENTS                      each event schedules the next
//   chain HOPS FLOWS PACKETS                 UDP through a chain of routers
//   bulk cubic|newreno MBITS DELAY_MS QUEUE_BYTES BYTES   one TCP transfer
#include <cinttypes>
#include <cstdio>
#include <ctime>
#include <string>
#include <vector>

#include "ns3/applications-module.h"
#include "ns3/core-module.h"
#include "ns3/internet-module.h"
#include "ns3/network-module.h"
#include "ns3/point-to-point-module.h"

using namespace ns3;

static double Cpu() {
  timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return t.tv_sec * 1e9 + t.tv_nsec;
}

// The hold model. Distances are drawn as the Go side draws them.
struct Hold {
  uint64_t x = 1, left = 0, fired = 0;
  int64_t last = 0;
  int64_t Gap() {
    x = x * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return 1 + int64_t(x >> 44);
  }
  void Fire() {
    fired++;
    last = Simulator::Now().GetNanoSeconds();
    if (left > 0) {
      left--;
      Simulator::Schedule(NanoSeconds(Gap()), &Hold::Fire, this);
    }
  }
};

static void RunHold(uint64_t pending, uint64_t events) {
  Hold h;
  for (uint64_t i = 0; i < pending; i++) {
    Simulator::Schedule(NanoSeconds(h.Gap()), &Hold::Fire, &h);
  }
  h.left = events;
  double began = Cpu();
  Simulator::Run();
  double took = Cpu() - began;
  printf("cpu_ns %.0f events %" PRIu64 " last %" PRId64 "\n", took, h.fired, h.last);
}

static uint64_t arrivals, sum;
static int64_t last;

static void Arrived(Ptr<const Packet>, const Address&) {
  last = Simulator::Now().GetNanoSeconds();
  sum += uint64_t(last);
  arrivals++;
}

static void RunChain(uint32_t hops, uint32_t flows, uint32_t packets) {
  NodeContainer nodes;
  nodes.Create(hops + 1);
  InternetStackHelper stack;
  stack.Install(nodes);
  PointToPointHelper link;
  link.SetDeviceAttribute("DataRate", StringValue("10Gbps"));
  link.SetChannelAttribute("Delay", StringValue("1ms"));
  link.SetQueue("ns3::DropTailQueue", "MaxSize", StringValue("10000p"));
  Ipv4AddressHelper address;
  address.SetBase("10.0.0.0", "255.255.255.252");
  Ipv4InterfaceContainer end;
  for (uint32_t i = 0; i < hops; i++) {
    end = address.Assign(link.Install(nodes.Get(i), nodes.Get(i + 1)));
    address.NewNetwork();
  }
  Ipv4GlobalRoutingHelper::PopulateRoutingTables();
  ApplicationContainer sinks;
  for (uint32_t f = 0; f < flows; f++) {
    uint16_t port = 5000 + f;
    PacketSinkHelper sink("ns3::UdpSocketFactory", InetSocketAddress(Ipv4Address::GetAny(), port));
    sinks.Add(sink.Install(nodes.Get(hops)));
    UdpClientHelper client(end.GetAddress(1), port);
    client.SetAttribute("MaxPackets", UintegerValue(packets));
    client.SetAttribute("Interval", TimeValue(MicroSeconds(flows)));
    client.SetAttribute("PacketSize", UintegerValue(1000));
    client.Install(nodes.Get(0)).Start(MicroSeconds(f));
  }
  for (uint32_t i = 0; i < sinks.GetN(); i++) {
    sinks.Get(i)->TraceConnectWithoutContext("Rx", MakeCallback(&Arrived));
  }
  Simulator::Stop(Seconds(100));
  double began = Cpu();
  Simulator::Run();
  double took = Cpu() - began;
  printf("cpu_ns %.0f arrivals %" PRIu64 " sum %" PRIu64 " last %" PRId64 "\n", took, arrivals, sum, last);
}

int main(int argc, char** argv) {
  std::vector<std::string> a(argv + 1, argv + argc);
  if (a.size() == 3 && a[0] == "hold") {
    RunHold(std::stoull(a[1]), std::stoull(a[2]));
  } else if (a.size() == 4 && a[0] == "chain") {
    RunChain(std::stoul(a[1]), std::stoul(a[2]), std::stoul(a[3]));
  } else {
    fprintf(stderr, "want hold or chain with their numbers\n");
    return 2;
  }
  Simulator::Destroy();
}
