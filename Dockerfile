# One image, static and without a shell; `scim-operator server` and `scim-operator controller` run from it.
FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY api api
COPY cmd cmd
COPY controllers controllers
COPY scimserver scimserver
ARG VERSION=dev
RUN CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.version=${VERSION}" -o /scim-operator ./cmd/scim-operator

FROM gcr.io/distroless/static:nonroot
COPY --from=build /scim-operator /scim-operator
USER 65532:65532
ENTRYPOINT ["/scim-operator"]
