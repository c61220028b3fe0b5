// The baseline of sim.maxmin_vs_simgrid: flows between the hosts of a star, whose
// links share their capacity by max-min fairness, in SimGrid.
//
//   star HOSTS CAPACITY < flows     one "start from to size" in a line, in the
//                                   order of their start: seconds and bytes
//
// It prints "cpu_ns" and the time, and then when each flow ended, seconds.
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <string>
#include <vector>

#include <simgrid/s4u.hpp>

namespace sg = simgrid::s4u;

struct Flow {
  double start;
  int from, to;
  double size;
};

static std::vector<Flow> flows;
static std::vector<double> ends;

static std::string Name(int host) { return "h" + std::to_string(host); }

static void Carry(size_t i) {
  const Flow& f = flows[i];
  sg::Comm::sendto(sg::Host::by_name(Name(f.from)), sg::Host::by_name(Name(f.to)), uint64_t(f.size));
  ends[i] = sg::Engine::get_clock();
}

static void Start() {
  for (size_t i = 0; i < flows.size(); i++) {
    double wait = flows[i].start - sg::Engine::get_clock();
    if (wait > 0) {
      sg::this_actor::sleep_for(wait);
    }
    sg::Actor::create("flow", sg::Host::by_name(Name(flows[i].from)), Carry, i);
  }
}

int main(int argc, char** argv) {
  if (argc != 4 || std::string(argv[1]) != "star") {
    fprintf(stderr, "want star HOSTS CAPACITY\n");
    return 2;
  }
  int hosts = atoi(argv[2]);
  double capacity = atof(argv[3]);
  Flow f;
  while (scanf("%lf %d %d %lf", &f.start, &f.from, &f.to, &f.size) == 4) {
    flows.push_back(f);
  }
  ends.resize(flows.size());

  // Sharing alone: no model of TCP's windows, headers or acknowledgements.
  char quiet[] = "--log=root.thres:warning";
  char* words[] = {argv[0], quiet, nullptr};
  int count = 2;
  sg::Engine engine(&count, words);
  for (const char* s : {"network/model:CM02", "network/optim:Lazy", "network/crosstraffic:0", "network/TCP-gamma:0", "network/bandwidth-factor:1",
                        "network/latency-factor:1", "network/weight-S:0", "contexts/stack-size:32"}) {
    sg::Engine::set_config(s);
  }
  auto* root = sg::create_star_zone("root");
  for (int i = 0; i < hosts; i++) {
    auto* host = root->create_host(Name(i), 1e9);
    auto* up = root->create_link("up" + std::to_string(i), capacity)->set_latency(0)->seal();
    auto* down = root->create_link("down" + std::to_string(i), capacity)->set_latency(0)->seal();
    root->add_route(host->get_netpoint(), nullptr, nullptr, nullptr, {sg::LinkInRoute(up)}, false);
    root->add_route(nullptr, host->get_netpoint(), nullptr, nullptr, {sg::LinkInRoute(down)}, false);
  }
  root->seal();
  sg::Actor::create("start", sg::Host::by_name(Name(0)), Start);
  clock_t began = clock();
  engine.run();
  printf("cpu_ns %.0f\n", double(clock() - began) / CLOCKS_PER_SEC * 1e9);
  for (double e : ends) {
    printf("%.12f\n", e);
  }
}
