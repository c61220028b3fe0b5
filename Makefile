# Two targets do everything a newcomer needs: `make run` and `make test`.
GO ?= go

.PHONY: all build run test generate soak vm lint bench clean tools

all: build

build: ## build ./homeward
	$(GO) build -o homeward ./cmd/homeward

run: build ## run the first scenario, for real, to a report
	./homeward run overlapping_branches

test: tools ## everything: unit, kernel, lab and command line tests
	./internal/ci/test.sh

tools: ## independent peers that tests use as judges (Debian packages)
	./internal/ci/tools.sh

generate: ## eBPF objects, schema, place table: committed; CI regenerates and compares
	$(GO) generate ./...

soak: build ## long repetitions: labs in a row, SIGKILL at random moments; soak.sh says how to split it and how long it takes
	./internal/ci/soak.sh

vm: ## labs on Debian's kernel in an emulated machine: netem, no tcx
	./internal/ci/vm.sh

bench: build ## figures beside their baselines
	./homeward bench hub
	./homeward bench dataplane
	./homeward bench lab
	./homeward bench sim

lint:
	test -z "$$(gofmt -l $$(git ls-files '*.go'))"
	$(GO) vet ./...

clean:
	rm -rf homeward out
