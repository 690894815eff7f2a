ARG BUILD_IMAGE=golang:1.26
ARG BASE_IMAGE=scratch

FROM ${BUILD_IMAGE} AS build
ARG VERSION=unknown
WORKDIR /out/data
WORKDIR /src
COPY . .
RUN CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags "-X main.version=${VERSION}" -o /out/wattledger ./cmd/wattledger

FROM ${BASE_IMAGE}
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /out/wattledger /usr/local/bin/wattledger
COPY --from=build --chown=65532:65532 /out/data /data
USER 65532:65532
VOLUME /data
EXPOSE 9201
ENTRYPOINT ["/usr/local/bin/wattledger"]
CMD ["serve", "--storage.path=/data", "--web.listen-address=:9201"]
