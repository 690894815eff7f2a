package receiver

import (
	"fmt"
	"mime"
	"net"
	"net/http"
	"strconv"
	"strings"

	"github.com/wattledger/wattledger/receiver/decode"
	"github.com/wattledger/wattledger/receiver/journal"
)

const (
	mediaType = "application/x-protobuf"
	protoV1   = "prometheus.WriteRequest"
	protoV2   = "io.prometheus.write.v2.Request"
)

// A form is what the headers of a request say of its body.
type form struct {
	protocol journal.Protocol // 0 when unknown
	encoding journal.Encoding // 0 when unknown
	attempt  int              // Retry-Attempt; 0 for the first
}

// readForm decides from the headers alone whether a request can be read.
func readForm(r *http.Request) (f form, err error) {
	f.attempt, _ = strconv.Atoi(r.Header.Get("Retry-Attempt"))
	var typeErr, encodingErr error
	f.protocol, typeErr = protocolOf(r.Header.Get("Content-Type"))
	f.encoding, encodingErr = encodingOf(r.Header.Get("Content-Encoding"))
	switch {
	case r.Method != http.MethodPost:
		return f, errMethod
	case typeErr != nil:
		return f, typeErr
	}
	return f, encodingErr
}

// protocolOf picks the schema. A parameter may stand after white space, be
// quoted and be written in any case: a reader that splits at ";" and "=" takes
// a 2.0 body for 1.0 and loses all of it.
func protocolOf(contentType string) (journal.Protocol, error) {
	switch contentType { // as Prometheus and most others send it
	case "", mediaType, mediaType + ";proto=" + protoV1:
		return journal.V1, nil
	case mediaType + ";proto=" + protoV2:
		return journal.V2, nil
	}
	got, parameters, err := mime.ParseMediaType(contentType)
	if err != nil {
		return 0, fmt.Errorf("%w %q: %w", errMediaType, decode.Clip(contentType, 128), err)
	}
	if got != mediaType {
		return 0, fmt.Errorf("%w %q: only %s is taken", errMediaType, decode.Clip(contentType, 128), mediaType)
	}
	proto, ok := parameters["proto"]
	switch {
	case !ok || strings.EqualFold(proto, protoV1):
		return journal.V1, nil
	case strings.EqualFold(proto, protoV2):
		return journal.V2, nil
	}
	return 0, fmt.Errorf("%w %q: proto must be %s or %s", errMediaType, decode.Clip(contentType, 128), protoV1, protoV2)
}

// encodingOf reads Content-Encoding. Without one the body is taken for snappy,
// as Prometheus does: both protocols demand it.
func encodingOf(contentEncoding string) (journal.Encoding, error) {
	switch strings.ToLower(strings.TrimSpace(contentEncoding)) {
	case "snappy", "", "identity":
		return journal.Snappy, nil
	case "zstd":
		return journal.Zstd, nil
	}
	return 0, fmt.Errorf("%w %q: only snappy and zstd are taken", errEncoding, decode.Clip(contentEncoding, 64))
}

// product returns the first product of a User-Agent, and host the sender's
// address without its port.
func product(userAgent string) string {
	name, _, _ := strings.Cut(userAgent, " ")
	if name == "" {
		return "unknown"
	}
	return name
}

func host(remoteAddr string) string {
	if h, _, err := net.SplitHostPort(remoteAddr); err == nil {
		return h
	}
	return remoteAddr
}

// Values of metric labels.
func protocolLabel(p journal.Protocol) string {
	switch p {
	case journal.V1:
		return "v1"
	case journal.V2:
		return "v2"
	}
	return "unknown"
}

func encodingLabel(e journal.Encoding) string {
	switch e {
	case journal.Snappy:
		return "snappy"
	case journal.Zstd:
		return "zstd"
	}
	return "unknown"
}
