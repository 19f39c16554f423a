# Every target works from a clean clone with Go alone.
.DEFAULT_GOAL := help
BIN := bin

help: ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

build: ## the binary, in bin/skerry
	CGO_ENABLED=0 go build -trimpath -o $(BIN)/skerry ./cmd/skerry

test: ## all tests
	go test ./...

race: ## all tests under the race detector
	go test -race ./...

lint: ## vet, staticcheck, formatting
	go vet ./...
	go build -C internal/tools -o ../../$(BIN)/staticcheck honnef.co/go/tools/cmd/staticcheck
	$(BIN)/staticcheck ./...
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); test -z "$$unformatted" || { echo "not formatted:"; echo "$$unformatted"; exit 1; }

generate: ## Go code from the .proto files
	go run -C internal/tools ./protogen ../../proto

verify: ## generated code is fresh, modules are tidy
	$(MAKE) -s generate
	go mod tidy -diff
	git diff --exit-code -- proto

.PHONY: help build test race lint generate verify
