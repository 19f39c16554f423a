# Every target works from a clean clone with Go alone.
.DEFAULT_GOAL := help
BIN := bin
NEMESIS_MINUTES ?= 30
NEMESIS_NODES ?= 3
TXN_MINUTES ?= 20

help: ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

VERSION ?=
LDFLAGS ?=
# With CGO=1 caches and memtables are C's, which has to be there and to link statically: less memory, dearer cold reads.
CGO ?= 0
# What measures processes that a test starts from itself has them built as they are shipped.
MEASURED = CGO_ENABLED=$(CGO)

build: ## the binary, static, in bin/skerry; VERSION=v1.2.3 names a release
	CGO_ENABLED=$(CGO) go build -trimpath -tags netgo,osusergo -ldflags '-extldflags=-static $(LDFLAGS) $(if $(VERSION),-X main.release=$(VERSION))' -o $(BIN)/skerry ./cmd/skerry

test: ## all tests
	go test -p 1 -parallel 4 ./... # one package at a time: some run clusters of their own, and wait for most of their time

race: ## all tests under the race detector
	go test -race ./...

lint: ## vet, staticcheck, formatting
	go vet ./...
	go build -C internal/tools -o ../../$(BIN)/staticcheck honnef.co/go/tools/cmd/staticcheck
	$(BIN)/staticcheck ./...
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); test -z "$$unformatted" || { echo "not formatted:"; echo "$$unformatted"; exit 1; }

generate: generate-quick ## Go code from the .proto files, docs/states.md from the tables of states, docs/errors.md, docs/metrics.md and docs/bad-input.md from theirs
	go test ./tests/badinput -run TestTable -rewrite

generate-quick: # all of it that takes a second
	go run -C internal/tools ./protogen ../../proto
	go test ./tests/states ./internal/fault -run TestDocument -rewrite
	go test ./cmd/node -run TestMetricsDocument -rewrite

verify: ## generated code is fresh, modules are tidy; that docs/bad-input.md is, its test finds out
	$(MAKE) -s generate-quick
	go mod tidy -diff
	git diff --exit-code -- proto docs/states.md docs/errors.md docs/metrics.md

bench: ## bench-parts, then bench-cluster
	$(MAKE) bench-parts
	$(MAKE) bench-cluster

# The packages of the parts that have benchmarks.
PARTS := ./client ./raftstore/group ./engine ./raftstore/apply ./raftstore ./rpc ./cmd/node
COUNT ?= 3

bench-parts: ## Go benchmarks of each part, beside the raw parts below, COUNT=3 times; benchstat reads the output
	@go test -run '^$$' -bench . -benchmem -count $(COUNT) -p 1 -timeout 1h $(PARTS)

bench-cluster: build ## put, get, scan, ycsb-a and what small transactions cost, on three stores in one process, on disk
	@dir=$$(mktemp -d); $(BIN)/skerry playground --addr 127.0.0.1:14400 --data $$dir --split-keys bench/4,bench/8,bench/c > /dev/null & pid=$$!; \
	trap "kill $$pid; wait $$pid; rm -rf $$dir" EXIT; sleep 4; \
	for w in put get scan ycsb-a; do $(BIN)/skerry bench $$w --addr 127.0.0.1:14400 --duration 10s --value-size 256 || exit 1; done; \
	$(BIN)/skerry bench txn-cost --value-size 100 --addr 127.0.0.1:14400 || exit 1; \
	for w in bank counter rmw new-order; do $(BIN)/skerry bench $$w --addr 127.0.0.1:14400 --duration 10s --clients 64 --prefix $$w/ || exit 1; done

bench-rivals: ## beside etcd, in turns on this machine: three processes each; writes docs/performance.md and docs/rivals.svg
	go run -C tests/bench/rivals . -docs ../../../docs

bench-costs: ## what a put and a get cost, in processor time and allocations by stage; without etcd; writes docs/performance.md
	go run -C tests/bench/rivals . -costs -rows '^1 shard (put|get)|^100 shards (put|get)' -docs ../../../docs

bench-txn: ## the rows of bench-rivals about transactions only, in less than three minutes; prints the table
	go run -C tests/bench/rivals . -rows transactions -rounds 1 -window 4s -fill 16777216

bench-failover: ## kill -9 of a store to the first put on its last shard, with 20 and 1,000 shards
	SKERRY_FAILOVER=20x10 $(MEASURED) go test ./tests/e2e -count=1 -run TestFailover -v -timeout 20m
	SKERRY_FAILOVER=1000x10 $(MEASURED) go test ./tests/e2e -count=1 -run TestFailover -v -timeout 20m

bench-fill: ## latency of puts on 1,000 shards while an added store fills and while it does not, in turns
	SKERRY_FILL=1000 $(MEASURED) go test ./tests/e2e -count=1 -run TestFillUnderLoad -v -timeout 40m

bench-gaps: ## for how long puts stall while a leadership is handed over, and while a shard is split, 100 times each
	SKERRY_GAPS=100 $(MEASURED) go test ./tests/e2e -count=1 -run TestGaps -v -timeout 20m

bench-move: ## how long a replica of 1 GiB takes to another store of an idle cluster, three times
	SKERRY_MOVE=1024 SKERRY_MOVES=3 $(MEASURED) go test ./tests/e2e -count=1 -run TestMoveSpeed -v -timeout 30m

bench-restart: ## how long a store of 1,000 shards and 2 GiB takes until it answers for all of them again
	SKERRY_RESTART=1000 SKERRY_RESTART_MIB=2048 $(MEASURED) go test ./tests/e2e -count=1 -run TestRestartSpeed -v -timeout 30m

bench-scan: ## rows a second of a scan over 100 shards and 256 MiB, beside one iterator of Pebble alone over the same rows, warm and cold
	SKERRY_SCAN=256 $(MEASURED) go test ./tests/e2e -count=1 -run TestScanSpeed -v -timeout 20m

bench-idle: ## CPU and heap of 10,000 idle shards on three stores
	SKERRY_IDLE=10000 $(MEASURED) go test ./tests/e2e -count=1 -run TestIdle -v -timeout 20m

SEEDS ?= 1..200
MINUTES ?= 5

sim: ## simulated worlds, SEEDS=1..200 for at most MINUTES=5, some of them twice; random tests of the parts
	go build -o $(BIN)/skerry-sim ./cmd/skerry-sim
	$(BIN)/skerry-sim run --seeds $(SEEDS) --minutes $(MINUTES)
	$(BIN)/skerry-sim verify --seeds 1..10
	go test ./raftstore/group -count=1 -run TestRandom -rapid.checks=400
	go test ./placement/tso ./shard ./client -count=1 -run 'TestUniqueOverLeaders|TestAtMostOnce|TestMapConverges' -rapid.checks=400

placementsim: ## the schedulers over 1,000 simulated stores and 1,000,000 shards; writes what it takes into docs/placement.md
	SKERRY_PLACEMENTSIM=1 go test ./placement -count=1 -run TestMemory -v
	SKERRY_PLACEMENTSIM=1 nice go test ./tests/placementsim -count=1 -run TestScenarios -v -timeout 2h

overload: ## a disk that stalls for a minute, clients that take no answers, a hundred scans and four times too many puts, all at once
	SKERRY_LONG=1 go test ./tests/e2e -count=1 -run TestOverload -v -timeout 30m

operate: ## a cluster grows, shrinks, loses stores and leaders of placement, moves that fail: the long form of these tests
	SKERRY_LONG=1 go test ./tests/e2e -count=1 -run 'TestGrowAndShrink|TestOperatorsOutlive|TestMovesThatFail' -parallel 1 -v -timeout 40m

upgrade: ## three nodes are replaced by the next version, forth and back, under load: the long form of that test
	SKERRY_LONG=1 go test ./tests/e2e -count=1 -run TestRollingUpgrade -v -timeout 20m

hunt: ## plant each bug in turn and count the worlds until it is found; writes docs/planted-bugs.md
	go build -tags bugs -o $(BIN)/skerry-sim-bugs ./cmd/skerry-sim
	$(BIN)/skerry-sim-bugs hunt --out docs/planted-bugs.md

nemesis: ## half an hour of real processes under every harm we know; NEMESIS_MINUTES and NEMESIS_NODES change it
	SKERRY_NEMESIS_MINUTES=$(NEMESIS_MINUTES) SKERRY_NEMESIS_NODES=$(NEMESIS_NODES) go test ./tests/e2e -count=1 -run TestNemesis -v -timeout $$(($(NEMESIS_MINUTES) + 20))m

nemesis-txn: ## twenty minutes of transactions on real processes under every harm we know; TXN_MINUTES changes it
	SKERRY_TXN_MINUTES=$(TXN_MINUTES) SKERRY_NEMESIS_NODES=$(NEMESIS_NODES) go test ./tests/e2e -count=1 -run TestNemesisTxn -v -timeout $$(($(TXN_MINUTES) + 20))m

.PHONY: help build test race lint generate generate-quick verify sim placementsim hunt bench bench-parts bench-cluster bench-rivals bench-costs bench-txn bench-failover bench-fill bench-gaps bench-move bench-restart bench-scan bench-idle operate upgrade overload nemesis nemesis-txn
