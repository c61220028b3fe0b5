// The baseline of `homeward bench sim` and the judge of its tests: the same
// models in ns-3. Each mode prints one line of "name value" pairs.
//
//   hold PENDING EVENTS                      each event schedules the next
//   chain HOPS FLOWS PACKETS                 UDP through a chain of routers
//   bulk cubic|newreno BITS DELAY_NS QUEUE BYTES LOST...
//                                            one TCP transfer over a bottleneck,
//                                            which loses the full segments of
//                                            these numbers, from 1
#include <cinttypes>
#include <cstdio>
#include <ctime>
#include <set>
#include <string>
#include <vector>

#include "ns3/applications-module.h"
#include "ns3/core-module.h"
#include "ns3/internet-module.h"
#include "ns3/network-module.h"
#include "ns3/point-to-point-module.h"
#include "ns3/traffic-control-module.h"

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

// Loses the full segments of some numbers.
class Loss : public ErrorModel {
 public:
  std::set<uint64_t> lost;

 private:
  uint64_t seen = 0;
  bool DoCorrupt(Ptr<Packet> p) override { return p->GetSize() > 1400 && lost.count(++seen) > 0; }
  void DoReset() override { seen = 0; }
};

static uint64_t received, wanted;

static void Received(Ptr<const Packet> p, const Address&) {
  received += p->GetSize();
  if (received >= wanted && last == 0) {
    last = Simulator::Now().GetNanoSeconds();
    Simulator::Stop();
  }
}

static void RunBulk(const std::string& algorithm, const std::string& bits, int64_t delay, uint32_t queue,
                    uint64_t bytes, const std::set<uint64_t>& lost) {
  wanted = bytes;
  // What Linux does, and this simulator.
  Config::SetDefault("ns3::TcpL4Protocol::SocketType", TypeIdValue(TypeId::LookupByName(algorithm)));
  Config::SetDefault("ns3::TcpSocket::SegmentSize", UintegerValue(1448));
  Config::SetDefault("ns3::TcpSocket::InitialCwnd", UintegerValue(10));
  Config::SetDefault("ns3::TcpSocket::SndBufSize", UintegerValue(16 << 20));
  Config::SetDefault("ns3::TcpSocket::RcvBufSize", UintegerValue(4 << 20));
  Config::SetDefault("ns3::TcpSocket::DelAckTimeout", TimeValue(MilliSeconds(40)));
  Config::SetDefault("ns3::TcpSocketBase::MinRto", TimeValue(MilliSeconds(200)));
  NodeContainer nodes;
  nodes.Create(3);
  InternetStackHelper stack;
  stack.Install(nodes);
  PointToPointHelper fast, slow;
  fast.SetDeviceAttribute("DataRate", StringValue("10Gbps"));
  fast.SetQueue("ns3::DropTailQueue", "MaxSize", StringValue("100000p"));
  slow.SetDeviceAttribute("DataRate", StringValue(bits + "bps"));
  slow.SetChannelAttribute("Delay", TimeValue(NanoSeconds(delay)));
  slow.SetQueue("ns3::DropTailQueue", "MaxSize", StringValue(std::to_string(queue) + "B"));
  NetDeviceContainer near = fast.Install(nodes.Get(0), nodes.Get(1)), far = slow.Install(nodes.Get(1), nodes.Get(2));
  Ptr<Loss> loss = CreateObject<Loss>();
  loss->lost = lost;
  far.Get(1)->SetAttribute("ReceiveErrorModel", PointerValue(loss));
  Ipv4AddressHelper address;
  address.SetBase("10.0.0.0", "255.255.255.252");
  address.Assign(near);
  address.NewNetwork();
  Ipv4InterfaceContainer end = address.Assign(far);
  TrafficControlHelper none;  // a queue is the device's
  none.Uninstall(near);
  none.Uninstall(far);
  Ipv4GlobalRoutingHelper::PopulateRoutingTables();
  PacketSinkHelper sink("ns3::TcpSocketFactory", InetSocketAddress(Ipv4Address::GetAny(), 80));
  ApplicationContainer sinks = sink.Install(nodes.Get(2));
  sinks.Get(0)->TraceConnectWithoutContext("Rx", MakeCallback(&Received));
  BulkSendHelper client("ns3::TcpSocketFactory", InetSocketAddress(end.GetAddress(1), 80));
  client.SetAttribute("MaxBytes", UintegerValue(bytes));
  client.Install(nodes.Get(0));
  Simulator::Stop(Seconds(3600));
  Simulator::Run();
  printf("bytes %" PRIu64 " last %" PRId64 "\n", received, last);
}

int main(int argc, char** argv) {
  std::vector<std::string> a(argv + 1, argv + argc);
  if (a.size() == 3 && a[0] == "hold") {
    RunHold(std::stoull(a[1]), std::stoull(a[2]));
  } else if (a.size() == 4 && a[0] == "chain") {
    RunChain(std::stoul(a[1]), std::stoul(a[2]), std::stoul(a[3]));
  } else if (a.size() >= 6 && a[0] == "bulk") {
    std::set<uint64_t> lost;
    for (size_t i = 6; i < a.size(); i++) {
      lost.insert(std::stoull(a[i]));
    }
    RunBulk(a[1] == "cubic" ? "ns3::TcpCubic" : "ns3::TcpLinuxReno", a[2], std::stoll(a[3]), std::stoul(a[4]),
            std::stoull(a[5]), lost);
  } else {
    fprintf(stderr, "want hold, chain or bulk with their numbers\n");
    return 2;
  }
  Simulator::Destroy();
}
