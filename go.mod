module github.com/homeward-lab/homeward

go 1.26.8

require (
	github.com/HdrHistogram/hdrhistogram-go v1.4.0 // delays and stalls as distributions, in constant memory
	github.com/cilium/ebpf v0.22.0 // loads and attaches the programs; bpf2go makes them
	github.com/containernetworking/plugins v1.9.1 // namespaces in which eBPF is tried
	github.com/expr-lang/expr v1.17.8 // checks, compiled against typed measures
	github.com/gaissmai/bart v0.30.0 // longest prefix match
	github.com/google/go-cmp v0.7.0 // tests: differences that can be read
	github.com/google/renameio/v2 v2.0.2 // results appear whole or not at all
	github.com/gopacket/gopacket v1.7.7 // pcapng; tests: a second opinion on packets
	github.com/invopop/jsonschema v0.14.0 // the language's schema from its types
	github.com/nats-io/nats-server/v2 v2.15.2 // embedded: tasks of a sweep for other machines
	github.com/nats-io/nats.go v1.55.0 // its client
	github.com/osrg/gobgp/v4 v4.8.0 // BGP of a lab's routers
	github.com/parquet-go/parquet-go v0.32.0 // what a study plots, for notebooks
	github.com/rogpeppe/go-internal v1.16.0 // tests: the command line as scripts
	github.com/santhosh-tekuri/jsonschema/v6 v6.0.3 // tests: shipped files against the schema
	github.com/spf13/cobra v1.10.2 // the command line
	github.com/spf13/pflag v1.0.10 // flags whose values complete
	github.com/ulikunitz/xz v0.5.17 // AS graphs as they are published
	github.com/vishvananda/netlink v1.3.1 // links, addresses, routes, queues
	github.com/vishvananda/netns v0.0.5 // namespaces by descriptor, for netlink's handles
	go.yaml.in/yaml/v4 v4.0.0 // scenarios, with positions
	golang.org/x/net v0.60.0 // DNS messages; socket filters
	golang.org/x/sync v0.24.0 // groups of goroutines that fail together
	golang.org/x/sys v0.49.0 // system calls
	golang.org/x/term v0.47.0 // is it a terminal, and how wide
	gonum.org/v1/gonum v0.17.0 // distributions and statistics
	gonum.org/v1/plot v0.17.0 // static plots of a study
	gvisor.dev/gvisor v0.0.0-20260905035102-160fafc42237 // checksums and segmentation, as its network stack has them
	pgregory.net/rapid v1.3.0 // tests: properties over drawn cases
)

require (
	codeberg.org/go-fonts/liberation v0.5.0 // indirect
	codeberg.org/go-latex/latex v0.2.0 // indirect
	codeberg.org/go-pdf/fpdf v0.11.1 // indirect
	git.sr.ht/~sbinet/gg v0.7.0 // indirect
	github.com/ajstarks/svgo v0.0.0-20211024235047-1546f124cd8b // indirect
	github.com/andybalholm/brotli v1.1.1 // indirect
	github.com/antithesishq/antithesis-sdk-go v0.8.0-default-no-op // indirect
	github.com/bahlo/generic-list-go v0.2.0 // indirect
	github.com/buger/jsonparser v1.1.2 // indirect
	github.com/dgryski/go-farm v0.0.0-20240924180020-3414d57e47da // indirect
	github.com/eapache/channels v1.1.0 // indirect
	github.com/eapache/queue v1.1.0 // indirect
	github.com/fsnotify/fsnotify v1.9.0 // indirect
	github.com/go-viper/mapstructure/v2 v2.4.0 // indirect
	github.com/golang/freetype v0.0.0-20170609003504-e2365dfdc4a0 // indirect
	github.com/google/go-tpm v0.9.8 // indirect
	github.com/google/uuid v1.6.0 // indirect
	github.com/inconshreveable/mousetrap v1.1.0 // indirect
	github.com/k-sone/critbitgo v1.4.0 // indirect
	github.com/klauspost/compress v1.20.3 // indirect
	github.com/minio/highwayhash v1.0.4 // indirect
	github.com/nats-io/jwt/v2 v2.8.2 // indirect
	github.com/nats-io/nkeys v0.4.16 // indirect
	github.com/nats-io/nuid v1.0.1 // indirect
	github.com/orcaman/concurrent-map/v2 v2.0.1 // indirect
	github.com/parquet-go/bitpack v1.0.0 // indirect
	github.com/parquet-go/jsonlite v1.0.0 // indirect
	github.com/pb33f/ordered-map/v2 v2.3.1 // indirect
	github.com/pelletier/go-toml/v2 v2.2.3 // indirect
	github.com/pierrec/lz4/v4 v4.1.21 // indirect
	github.com/sagikazarmark/locafero v0.7.0 // indirect
	github.com/segmentio/fasthash v1.0.3 // indirect
	github.com/sourcegraph/conc v0.3.0 // indirect
	github.com/spf13/afero v1.12.0 // indirect
	github.com/spf13/cast v1.7.1 // indirect
	github.com/spf13/viper v1.20.1 // indirect
	github.com/subosito/gotenv v1.6.0 // indirect
	github.com/twpayne/go-geom v1.6.1 // indirect
	go.uber.org/atomic v1.9.0 // indirect
	go.uber.org/multierr v1.9.0 // indirect
	golang.org/x/crypto v0.58.0 // indirect
	golang.org/x/exp v0.0.0-20250711185948-6ae5c78190dc // indirect
	golang.org/x/image v0.30.0 // indirect
	golang.org/x/text v0.43.0 // indirect
	golang.org/x/time v0.16.0 // indirect
	golang.org/x/tools v0.51.0 // indirect
	google.golang.org/genproto/googleapis/rpc v0.0.0-20260414002931-afd174a4e478 // indirect
	google.golang.org/grpc v1.82.1 // indirect
	google.golang.org/protobuf v1.36.11 // indirect
	gopkg.in/yaml.v3 v3.0.1 // indirect
)
