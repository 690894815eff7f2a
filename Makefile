# Wattledger. `make run` builds and starts it; `make test` installs what the
# tests need and runs them.

VERSION   ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
TESTFLAGS ?=
FUZZTIME  ?= 20s
FUZZJOBS  ?= $(shell nproc)
BENCHTIME ?= 1s
DURATION  ?= 10m
SEED      ?= 1
REPORT    ?= torture.md
STORAGE   ?= data
ARGS      ?=

BUILDFLAGS := -trimpath -buildvcs=false -ldflags "-X main.version=$(VERSION)"
PACKAGES   := prometheus redis-server strace buildah gcc libc6-dev ca-certificates
SUDO       := $(shell [ "$$(id -u)" = 0 ] || echo sudo)

.PHONY: build workshop install influxd kube manifests test race check run demo page page-check lint fuzz torture bench bench-store peers bench-peers reproducible sbom vuln docker-build docker-run clean

build:
	CGO_ENABLED=0 go build $(BUILDFLAGS) -o bin/ ./cmd/wattledger

# What development needs beside the product: load with known truth, and torture.
workshop:
	CGO_ENABLED=0 go build $(BUILDFLAGS) -o bin/ ./test/loadgen ./test/torture

# Only what is absent is installed, so that it costs nothing the second time.
install:
	@missing=$$(for p in $(PACKAGES); do \
		dpkg-query -W -f '$${Status}' $$p 2>/dev/null | grep -q '^install ok installed' || echo $$p; \
	done); \
	if [ -n "$$missing" ]; then \
		set -x; $(SUDO) apt-get update -q && \
		$(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $$missing; \
	fi
	go mod download
	$(MAKE) --no-print-directory influxd kube

# InfluxDB for tests, built once into the user's cache directory.
influxd:
	go test -count=1 -run '^TestBinary$$' ./test/influxtest

# Helm and an API server for tests, built once (some minutes) into the user's cache
# directory; modules are checked against their sums.
kube:
	go test -count=1 -timeout 30m -run '^TestBinaries$$' ./test/kubetest

# What is generated from the chart, after a change of it.
manifests: kube
	go test -count=1 -run '^TestGenerated$$' ./deployment -update

# Tests wait more than they compute, so more packages run at once than there are
# cores. Everything runs plainly; then what is concurrent runs again under the race
# detector, without SQLite, whose transpiled C it makes ten times slower, and without
# what only watches programs that are built without it.
AT_ONCE := -p 4
RACED   ?= $(shell go list ./... | grep -vE '/(cmd|deployment|examples|test)(/|$$)')

test: install
	go test $(AT_ONCE) -timeout 25m $(TESTFLAGS) ./...
	cd test/opencost && go test ./...
	$(MAKE) --no-print-directory race

# The same for the program itself: make race RACED=./cmd/wattledger
race: install
	go test -race $(AT_ONCE) -timeout 25m -gcflags='modernc.org/...=-race=false' -skip '^Test(Mutants|Overload)$$' $(TESTFLAGS) $(RACED)

# For the inner loop: no servers, no race detector, no mutants.
check:
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { echo "gofmt: run make lint"; exit 1; }
	go vet ./...
	go test $(AT_ONCE) -skip '^TestMutants$$' $$(go list ./... | grep -vE '/(cmd|deployment|examples|backfill|test/(loadgen|torture|influxtest)|store/(influx|redis))(/|$$)')

# The compiler says nothing, so the clock does.
run:
	@echo "Building wattledger: about a minute the first time, more while modules are fetched; seconds after that. Then it serves."
	@$(MAKE) --no-print-directory -s build & build=$$!; seconds=0; \
	while kill -0 $$build 2>/dev/null; do \
		sleep 1; seconds=$$((seconds + 1)); \
		[ $$((seconds % 5)) != 0 ] || echo "  building for $$seconds s"; \
	done; wait $$build
	@mkdir -p $(STORAGE)
	@bin/wattledger serve --storage.path=$(STORAGE) $(ARGS)

demo: build
	bin/wattledger demo $(ARGS)

# The page's sources are in web/; what is built of them is committed, so that Go
# alone builds the program. Needs npm.
page:
	cd web && npm ci --no-audit --no-fund && npm run build

# What is committed is what the sources make, byte by byte.
page-check: page
	@test -z "$$(git status --porcelain -- httpapi/web)" || { git status --short -- httpapi/web; echo "httpapi/web is not what web/ makes: commit what make page built"; exit 1; }

lint:
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); \
	if [ -n "$$unformatted" ]; then echo "gofmt: $$unformatted"; exit 1; fi
	go vet ./...
	go tool staticcheck ./...

# Every fuzz target for FUZZTIME, as many at once as there are cores and each on
# one: go fuzzes one at a time. Left to itself it spends up to a minute making
# each new input smaller, and with real bodies as seeds nothing else.
fuzz:
	@go list -f '{{$$p := .}}{{range .TestGoFiles}}{{$$p.ImportPath}} {{$$p.Dir}}/{{.}}{{"\n"}}{{end}}{{range .XTestGoFiles}}{{$$p.ImportPath}} {{$$p.Dir}}/{{.}}{{"\n"}}{{end}}' ./... | \
	while read -r package file; do \
		[ -z "$$file" ] || sed -n "s,^func \(Fuzz[A-Za-z0-9_]*\)(.*,$$package \1,p" "$$file"; \
	done | \
	xargs -P $(FUZZJOBS) -L 1 sh -c 'out=$$(GOMAXPROCS=1 go test -run "^$$" -fuzz "^$$1$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 100x $$0 2>&1); status=$$?; \
		echo "fuzz $$0 $$1"; echo "$$out" | if [ $$status = 0 ]; then tail -n 3; else cat; fi; exit $$status'

# Faults for as long as one likes: what a kill, a full disk or a network does to the
# books; docs/torture.md is the report of a run.
torture: install build workshop
	bin/torture -duration=$(DURATION) -seed=$(SEED) -report=$(REPORT) $(ARGS)

bench:
	go test -run '^$$' -bench . -benchmem -benchtime $(BENCHTIME) ./...

# The store's figures on a history of 30 days and 1,000 workloads, which takes a
# few minutes to make; the log shows its rate day by day.
bench-store: influxd
	go test -run '^$$' -bench 'Append|Sum|Workload|BytesPerRow|Power' -benchtime 50x -timeout 90m ./store/local
	go test -run '^$$' -bench . -benchtime 10x -timeout 90m ./store/influx

# The receivers that ours is measured against. A peer that cannot be built is
# left out of the table, and the table says so.
PEERS      := bin/peers
PROMETHEUS := github.com/prometheus/prometheus/cmd/prometheus@v0.316.0
VICTORIA   := github.com/VictoriaMetrics/VictoriaMetrics/app
TELEGRAF   := github.com/influxdata/telegraf@v1.37.2

peers:
	@mkdir -p $(PEERS)
	[ -x $(PEERS)/prometheus ] || GOBIN=$(CURDIR)/$(PEERS) go install -tags remove_all_sd $(PROMETHEUS)
	-[ -x $(PEERS)/vmagent ] || GOBIN=$(CURDIR)/$(PEERS) go install $(VICTORIA)/vmagent@v1.150.0 $(VICTORIA)/victoria-metrics@v1.150.0
	-[ -x $(PEERS)/telegrafparse ] || { \
		module=$$(mktemp -d) && cp test/loadgen/telegrafparse/* $$module && go mod download $(TELEGRAF) && \
		cp $$(go env GOMODCACHE)/$(TELEGRAF)/go.sum $$module && chmod u+w $$module/* && \
		(cd $$module && go build -mod=mod -o $(CURDIR)/$(PEERS)/telegrafparse .); status=$$?; rm -rf $$module; exit $$status; }

# Ours and the peers in turn, by both protocols; ARGS are flags of loadgen peers.
bench-peers: build workshop peers
	bin/loadgen peers -protocol 1 $(ARGS)
	bin/loadgen peers -protocol 2 $(ARGS)

# The same source in two places gives the same bytes.
reproducible:
	@dir=$$(mktemp -d) && trap 'rm -rf "$$dir"' EXIT && mkdir "$$dir/elsewhere" && \
	git ls-files -z | tar -c --null -T - | tar -x -C "$$dir/elsewhere" && \
	for from in . "$$dir/elsewhere"; do \
		CGO_ENABLED=0 go build -C "$$from" $(BUILDFLAGS) -o "$$dir/again" ./cmd/wattledger || exit 1; \
		[ -e "$$dir/first" ] || mv "$$dir/again" "$$dir/first"; \
	done && \
	cmp "$$dir/first" "$$dir/again" && echo "reproducible: sha256 $$(sha256sum < "$$dir/first" | cut -d' ' -f1)"

# What the program is made of, as the program itself says: every module with its
# version and checksum.
sbom: build
	go version -m -json bin/wattledger > bin/wattledger.modules.json
	@echo bin/wattledger.modules.json

# Known vulnerabilities in what is called. Fails when there are any; where the
# database cannot be reached it says that nothing was checked.
vuln:
	@out=$$(go tool govulncheck ./... 2>&1); status=$$?; echo "$$out"; \
	if [ $$status != 0 ] && echo "$$out" | grep -q '^govulncheck: fetching vulnerabilities'; then \
		echo "make vuln: NOT CHECKED: the database of vulnerabilities cannot be reached from here"; exit 0; \
	fi; exit $$status

docker-build:
	VERSION=$(VERSION) deployment/image.sh build

docker-run:
	deployment/image.sh run $(ARGS)

clean:
	rm -rf bin dist
