# Everything here needs Go and make only; the tools are pinned in hack/tools.

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
COMMIT  ?= $(shell git rev-parse HEAD 2>/dev/null || echo unknown)
IMG     ?= scim-operator:$(VERSION)
KUBECTL ?= kubectl
DOCKER  ?= docker
DOCKER_BUILD_ARGS ?=
PLATFORMS         ?= linux/amd64,linux/arm64

# What deploy, undeploy and build-installer install: config/default, or an overlay of it.
CONFIG ?= config/default

# Each test package runs an API server of its own; more than two at once starve each other.
TEST_PACKAGES_AT_ONCE ?= 2
TEST_TIMEOUT          ?= 30m
TEST_ARGS             ?=

# The minor version of Kubernetes that everything here runs on, such as KUBERNETES=1.34; empty: that of hack/controlplane. Each is built
# once, in about eight minutes, into a cache of its own.
KUBERNETES ?=
export KUBERNETES
# What make test-kubernetes runs: what depends on the version of the API server most.
KUBERNETES_PACKAGES ?= ./hack/controlplane ./test/manifests ./test/schema ./test/security ./controllers ./scimserver/... ./test/okta

FUZZ_TIME             ?= 1m

CONTROLLER_GEN = go tool -modfile=hack/tools/generate/go.mod controller-gen
KUSTOMIZE      = go tool -modfile=$(CURDIR)/hack/tools/kustomize/go.mod kustomize
CRD_REF_DOCS   = go tool -modfile=hack/tools/apidocs/go.mod crd-ref-docs
GOLANGCI_LINT  = go tool -modfile=hack/tools/lint/go.mod golangci-lint

# What make release writes, and the platforms that it builds the plugin for. RELEASE_IMAGE=no leaves the image out, yes fails
# where no docker answers.
RELEASE_DIR      ?= dist
RELEASE_IMAGE    ?= auto
PLUGIN_PLATFORMS ?= linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 windows/amd64 windows/arm64
SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct 2>/dev/null || echo 0)

.DEFAULT_GOAL := help

.PHONY: help
help: ## Show this.
	@awk 'BEGIN {FS = ":.*## "} /^##@ / {printf "\n%s\n", substr($$0, 5)} /^[a-z0-9-]+:.*## / {printf "  %-17s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

##@ Try it
.PHONY: run
run: build ## Start API server, SCIM server, controller and a sample App here; RESET=1 begins anew.
	@go build -o bin/dev ./hack/dev/run
	@exec bin/dev $(ARGS)

# With COVER=1 the counters of the test binaries, and of the operators that they start, meet in one directory.
COVERED  = ./api/v1alpha1,./cmd/...,./controllers/...,./internal/...,./scimserver/...
PACKAGES ?= ./...
ifdef COVER
export COVERDIR = $(CURDIR)/bin/coverage
export COVERPKG = $(COVERED)
COVER_FLAGS = -cover -coverpkg=$(COVERED)
COVER_ARGS  = -args -test.gocoverdir=$(COVERDIR)
endif

##@ Tests
.PHONY: test
test: ## Run all tests, on a real API server.
	@go run ./hack/controlplane/ensure -controller-manager
	$(if $(COVER),@rm -rf $(COVERDIR) && mkdir -p $(COVERDIR))
	go test -p $(TEST_PACKAGES_AT_ONCE) -timeout $(TEST_TIMEOUT) $(TEST_ARGS) $(COVER_FLAGS) $(PACKAGES) $(COVER_ARGS)

.PHONY: test-kubernetes
test-kubernetes: ## Run KUBERNETES_PACKAGES on another version, such as KUBERNETES=1.34.
	@[ -n '$(KUBERNETES)' ] || { echo "which version? such as make test-kubernetes KUBERNETES=1.34"; exit 2; }
	@$(MAKE) test TEST_PACKAGES_AT_ONCE=1 PACKAGES='$(KUBERNETES_PACKAGES)'

.PHONY: coverage
coverage: ## Run all tests, then print which share of each package they reach.
	@$(MAKE) test COVER=1
	@$(MAKE) coverage-report

.PHONY: coverage-report
coverage-report: ## Print what the last make test COVER=1 reached.
	@go run ./hack/coverage bin/coverage bin/coverage.txt

# What needs no API server.
RACE_PACKAGES ?= $(shell go list ./internal/... ./scimserver/... ./controllers/... ./cmd/... ./hack/... | grep -v -e /cmd/scim-operator/uninstall$$ -e /scimserver/directory$$ -e /controllers$$ -e /hack/)
# With one: the directory as a whole, and of the controllers, as one process has them, what runs at once: leaders that come and go,
# runs of the binding engine that overtake each other, lists of revocations, limits on removals, and all of it under many changes.
# What these tests leave out goes the same ways one after the other.
RACE_API_SERVER  ?= ./scimserver/directory
RACE_CONTROLLERS ?= Leader|Standbys|Lease|Syncer|SyncIs|Yield|Interrupts|BackAtOnce|OwnWrites|AmongOwnWrites|Hammering|Restart|BulkRemovalIsHeld|BehindTheInformer|RevocationList$$|RevocationListMany|LeaderChange|AccessRevokedIsTrue|Coalesced|AskedRuns|CompiledInTurn

.PHONY: test-race test-race-packages test-race-controllers
test-race: test-race-packages test-race-controllers ## Run tests with the race detector; needs a C compiler.

test-race-packages:
	@go run ./hack/controlplane/ensure -controller-manager
	CGO_ENABLED=1 go test -race -p $(TEST_PACKAGES_AT_ONCE) -timeout $(TEST_TIMEOUT) $(TEST_ARGS) $(RACE_PACKAGES) $(RACE_API_SERVER)

test-race-controllers:
	@go run ./hack/controlplane/ensure -controller-manager
	CGO_ENABLED=1 go test -race -timeout $(TEST_TIMEOUT) $(TEST_ARGS) -run '$(RACE_CONTROLLERS)' ./controllers

.PHONY: e2e
e2e: ## Install, disturb, restore and uninstall the image in a cluster: docs/e2e.md.
	E2E_REPORT=$${E2E_REPORT-docs/e2e.md} test/e2e/run.sh

.PHONY: conformance
conformance: ## Compare with independent implementations of SCIM; needs Node.js 20 and npm.
	@hack/node.sh 20 conformance
	@go run ./hack/controlplane/ensure -controller-manager
	cd test/conformance/judges && npm ci --omit=dev
	go test -tags conformance -timeout $(TEST_TIMEOUT) $(TEST_ARGS) ./test/conformance ./test/conformance/client

.PHONY: alerts
alerts: ## Test alerts and dashboard by promtool and the engine of Prometheus.
	@go run ./hack/controlplane/ensure
	go test -tags promtool $(TEST_ARGS) ./test/alerts
	go test -tags promtool $(TEST_ARGS) -run Panel ./test/observe

.PHONY: browser
browser: ## Look at all pages in Chromium, the site after make site; needs Node.js 20.19 and npm.
	@hack/node.sh 20.19 browser
	@go run ./hack/controlplane/ensure
	cd test/observe/browser && npm ci --omit=dev
	go test -tags browser $(TEST_ARGS) -run Browser ./test/observe ./test/okta
	@if [ -f bin/site/index.html ]; then node hack/site/look.mjs bin/site; else echo "the site is not looked at: make site builds it"; fi

.PHONY: fuzz
fuzz: ## Fuzz every parser for FUZZ_TIME, one after the other.
	@for package in ./scimserver ./scimserver/protocol ./internal/names; do \
		for target in $$(go test $$package -list '^Fuzz' | grep '^Fuzz'); do \
			go test $$package -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZ_TIME) || exit 1; \
		done; \
	done

.PHONY: control-plane
control-plane: ## Obtain etcd, kube-apiserver and kubectl: a download, else a build of minutes, once.
	@go run ./hack/controlplane/ensure

.PHONY: bench
bench: control-plane ## Run the benchmarks, for two hours; ARGS=-list prints their names.
	go run ./hack/bench $(ARGS)

##@ Programs and image
.PHONY: build
build: ## Build bin/scim-operator, static.
	CGO_ENABLED=0 go build -trimpath -tags grpcnotrace -ldflags "-s -w -X main.version=$(VERSION) -X main.commit=$(COMMIT)" -o bin/scim-operator ./cmd/scim-operator

# kubectl finds a plugin and its completion by their names in PATH.
PLUGIN_DIR ?= $(or $(shell go env GOBIN),$(shell go env GOPATH)/bin)
.PHONY: install-plugin
install-plugin: ## Build kubectl-scim and its completion into PLUGIN_DIR, which must be in PATH.
	CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.version=$(VERSION)" -o $(PLUGIN_DIR)/kubectl-scim ./cmd/kubectl-scim
	@install -m 0755 cmd/kubectl-scim/kubectl_complete-scim $(PLUGIN_DIR)/kubectl_complete-scim

.PHONY: docker-build
docker-build: ## Build the image IMG; DOCKER_BUILD_ARGS adds arguments, such as other base images.
	$(DOCKER) build --build-arg VERSION=$(VERSION) --build-arg COMMIT=$(COMMIT) $(DOCKER_BUILD_ARGS) -t $(IMG) .

.PHONY: docker-buildx
docker-buildx: ## Build the image for all PLATFORMS and push it; needs a buildx builder.
	$(DOCKER) buildx build --platform $(PLATFORMS) --build-arg VERSION=$(VERSION) --build-arg COMMIT=$(COMMIT) $(DOCKER_BUILD_ARGS) --push -t $(IMG) .

.PHONY: docker-push
docker-push: ## Push the image IMG.
	$(DOCKER) push $(IMG)

##@ In the cluster of KUBECONFIG
.PHONY: install
install: ## Install the CRDs and the policy that guards them.
	$(KUBECTL) apply --server-side -k config/crd

.PHONY: uninstall
uninstall: build ## Revoke all access, then remove everything. Asks first; ARGS=--dry-run only shows.
	bin/scim-operator uninstall $(ARGS)

.PHONY: deploy
deploy: bin/installer.yaml ## Deploy CONFIG with the image IMG.
	$(KUBECTL) apply --server-side -f $<

# A retry is harmless: CRDs, objects, and the policies that guard both are labelled to stay.
.PHONY: undeploy
undeploy: bin/installer.yaml ## Remove the running operator; CRDs, objects, policies and all access stay.
	$(KUBECTL) delete --ignore-not-found -l 'scim-operator.io/undeploy notin (keep)' -f $<
	@KUBECTL='$(KUBECTL)' hack/remains.sh

.PHONY: build-installer
build-installer: bin/installer.yaml ## Write dist/install.yaml: CONFIG with the image IMG.
	mkdir -p dist
	cp $< dist/install.yaml

# Rendered in a folder of its own, so that IMG changes no tracked file.
.PHONY: bin/installer.yaml
bin/installer.yaml:
	@rm -rf bin/installer && mkdir -p bin/installer
	@cd bin/installer && $(KUSTOMIZE) create --resources '../../$(CONFIG)' && \
		$(KUSTOMIZE) edit set image scim-operator='$(IMG)'
	@$(KUSTOMIZE) build bin/installer -o $@

##@ Releases and pages
.PHONY: release
release: bin/installer.yaml ## Write a release into dist: docs/release.md.
	@rm -rf $(RELEASE_DIR) && mkdir -p $(RELEASE_DIR)
	go run ./hack/release -version '$(VERSION)' -commit '$(COMMIT)' -installer bin/installer.yaml -dir $(RELEASE_DIR) \
		-platforms '$(PLUGIN_PLATFORMS)' -epoch $(SOURCE_DATE_EPOCH)
	@if [ '$(RELEASE_IMAGE)' = no ]; then :; \
	elif [ '$(RELEASE_IMAGE)' = yes ] || $(DOCKER) version >/dev/null 2>&1; then \
		$(MAKE) docker-build && $(DOCKER) save -o $(RELEASE_DIR)/scim-operator_$(VERSION)_image.tar $(IMG); \
	else echo "without an image: no docker answers"; fi
	go run ./hack/release -checksums -dir $(RELEASE_DIR)

.PHONY: verify-release
verify-release: ## Make the release twice, without an image, and compare.
	RELEASE_PLATFORMS='$(PLUGIN_PLATFORMS)' go test -tags release -timeout $(TEST_TIMEOUT) $(TEST_ARGS) ./hack/release

# The licences that go into what is shipped, on each system that a program is built for. Others fail.
LICENCES = Apache-2.0,MIT,BSD-2-Clause,BSD-3-Clause,ISC,Unlicense
.PHONY: licences
licences: ## Check the licences of all linked modules, and write docs/third-party.md.
	@go build -modfile=hack/tools/licences/go.mod -o bin/go-licenses github.com/google/go-licenses
	@LICENCES='$(LICENCES)' hack/licences.sh docs/third-party.md

.PHONY: site
site: ## Build README.md and docs/ as a site in bin/site; needs Node.js 20 and npm.
	@hack/node.sh 20 site
	cd hack/site && npm ci && npx vitepress build
	go run ./hack/site bin/site

##@ Sources
.PHONY: generate
generate: ## Generate deep copies, apply configurations, docs/api.md and docs/dashboard.json.
	$(CONTROLLER_GEN) object applyconfiguration paths=./api/...
	$(CRD_REF_DOCS) --config hack/tools/apidocs/config.yaml --source-path api/v1alpha1 --renderer markdown --output-path docs/api.md --log-level ERROR
	go run ./hack/dashboard docs/dashboard.json

.PHONY: manifests
manifests: ## Generate CRDs, RBAC, and what the chart has in common with config/.
	$(CONTROLLER_GEN) crd paths=./api/... output:crd:artifacts:config=config/crd/bases
	go run ./hack/crds config/crd/bases
	$(CONTROLLER_GEN) rbac:roleName=scim-operator,fileName=roles.yaml paths="{./scimserver/...,./controllers/...}" output:rbac:dir=config/rbac
	$(KUSTOMIZE) build config/default | go run ./hack/chart charts/scim-operator/templates/generated config/components/prometheus-rule/prometheus_rule.yaml

.PHONY: verify-generated
verify-generated: generate manifests ## Fail where a generated file is stale.
	git diff --exit-code -- api config/crd config/rbac charts docs/api.md docs/dashboard.json
	@test -z "$$(git ls-files --others --exclude-standard charts)" || { echo "untracked files in charts"; exit 1; }

.PHONY: lint
lint: ## Check format, comments, and the arrows between packages.
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); \
	if [ -n "$$unformatted" ]; then echo "gofmt would change:"; echo "$$unformatted"; exit 1; fi
	go run ./hack/style .
	$(GOLANGCI_LINT) run --allow-parallel-runners ./...

.PHONY: clean
clean: ## Remove what was built and run here; the control plane stays in the user's cache.
	rm -rf bin dist .run
