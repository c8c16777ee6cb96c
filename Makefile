# Everything a contributor needs. `make help` lists it.
SHELL := /bin/sh
GO ?= go
BIN := bin/riposte
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS := -s -w -X main.version=$(VERSION)

.PHONY: help build demo test lint bench generate clean

help: ## list the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 18

build: ## build bin/riposte
	@CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN) ./cmd/riposte

demo: build ## play an attack on an emulated AWS account (STAY=1 leaves the server up)
	@scripts/demo.sh $(if $(STAY),--stay)

test: ## run every test, with all that they need
	@scripts/test.sh

lint: .tools/golangci-lint ## run the linters
	@.tools/golangci-lint run ./...

.tools/golangci-lint: tools/go.mod
	@echo "building the linter; this takes a few minutes"
	@$(GO) build -modfile=tools/go.mod -o $@ github.com/golangci/golangci-lint/v2/cmd/golangci-lint

bench: build ## run the benchmarks; docs/benchmarks.md tells the method
	@scripts/bench.sh

generate: ## generate code and reference pages anew
	@$(GO) generate ./...

clean: ## remove what was built
	@rm -rf bin dist coverage.out
