# One image, static and without a shell; `scim-operator server` and `scim-operator controller` run from it.
#
# BuildKit compiles on the machine's own platform for the target's. The legacy builder leaves BUILDPLATFORM, TARGETOS and
# TARGETARCH empty, and builds for its own. Both base images can be replaced where these digests cannot be had:
#   docker build --build-arg GO_IMAGE=golang:1.26 --build-arg BASE_IMAGE=gcr.io/distroless/static:nonroot .
ARG GO_IMAGE=golang:1.26@sha256:3c3e25a4da13fd0478eed2df1eb35a0e667094a7124d3993a6a1d30f71c17e79
ARG BASE_IMAGE=gcr.io/distroless/static:nonroot@sha256:1c2c046bc09ed40fad370b599a0b1ae7987f55b01e247cf27a7c27cd97e5bbc7

FROM --platform=${BUILDPLATFORM:-linux} ${GO_IMAGE} AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY api api
COPY cmd cmd
COPY config config
COPY controllers controllers
COPY internal internal
COPY scimserver scimserver
ARG TARGETOS
ARG TARGETARCH
ARG VERSION=devel
ARG COMMIT=unknown
RUN CGO_ENABLED=0 GOOS=${TARGETOS} GOARCH=${TARGETARCH} go build -trimpath -tags grpcnotrace \
    -ldflags "-s -w -X main.version=${VERSION} -X main.commit=${COMMIT}" -o /scim-operator ./cmd/scim-operator

FROM ${BASE_IMAGE}
ARG VERSION=devel
ARG COMMIT=unknown
LABEL org.opencontainers.image.title="scim-operator" \
      org.opencontainers.image.description="SCIM provisioning into Kubernetes: users as custom resources, roles as RBAC bindings" \
      org.opencontainers.image.source="https://github.com/scim-operator/scim-operator" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${COMMIT}"
COPY --from=build /scim-operator /scim-operator
USER 65532:65532
ENTRYPOINT ["/scim-operator"]
