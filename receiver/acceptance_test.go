package receiver

import (
	"bytes"
	"encoding/binary"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/golang/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
)

func TestOnlyPostIsTaken(t *testing.T) {
	s := newStation(t, nil)
	for _, method := range []string{http.MethodGet, http.MethodPut, http.MethodDelete, http.MethodHead} {
		a := s.do(method, nil)
		s.want(a, http.StatusMethodNotAllowed)
		if a.header.Get("Allow") != http.MethodPost {
			t.Errorf("%s: Allow is %q", method, a.header.Get("Allow"))
		}
	}
	// The method is looked at before anything else.
	s.want(s.do(http.MethodPut, nil, "Content-Type", "text/plain", "Content-Encoding", "gzip"), http.StatusMethodNotAllowed)
}

func TestContentTypes(t *testing.T) {
	s := newStation(t, nil)
	v1, v2 := bodyV1(t, one(kepler, at(0, 1))), bodyV2(t, asV2(one(kepler, at(0, 1))))
	f := func(contentType string, body []byte, want int) {
		t.Helper()
		headers := []string{"Content-Encoding", "snappy"}
		if contentType != "" {
			headers = append(headers, "Content-Type", contentType)
		}
		a := s.post(body, headers...)
		if a.code != want {
			t.Errorf("%q: %d %s, want %d", contentType, a.code, a.text, want)
		}
		if want == http.StatusNoContent && (a.header.Get("X-Prometheus-Remote-Write-Samples-Written") != "") != (bytes.Equal(body, v2)) {
			t.Errorf("%q: Written headers %v", contentType, a.header)
		}
	}
	f("", v1, 204)
	f("application/x-protobuf", v1, 204)
	f("application/x-protobuf;proto=prometheus.WriteRequest", v1, 204)
	f("application/x-protobuf; proto=prometheus.WriteRequest", v1, 204)
	f("Application/X-Protobuf", v1, 204)
	f("application/x-protobuf; charset=utf-8", v1, 204)
	f("application/x-protobuf;", v1, 204)
	f("application/x-protobuf;proto=io.prometheus.write.v2.Request", v2, 204)
	f("application/x-protobuf; proto=io.prometheus.write.v2.Request", v2, 204)
	f("application/x-protobuf ; proto=io.prometheus.write.v2.Request", v2, 204)
	f(`application/x-protobuf;proto="io.prometheus.write.v2.Request"`, v2, 204)
	f(`APPLICATION/X-PROTOBUF; PROTO="io.prometheus.write.v2.Request"`, v2, 204)
	f("application/x-protobuf;\tproto=io.prometheus.write.v2.Request; x=y", v2, 204)

	f("application/x-protobuf;proto=prometheus.WriteRequest.v2", v1, 415)
	f("application/x-protobuf;proto=io.prometheus.write.v3.Request", v2, 415)
	f("application/x-protobuf;proto=", v1, 415)
	f("application/x-protobuf;proto=a;proto=b", v1, 415)
	f("application/json", v1, 415)
	f("text/plain", v1, 415)
	f("application/x-www-form-urlencoded", v1, 415)
	f("application/x-protobufx", v1, 415)
	f("nonsense; ; =", v1, 415)
}

func TestContentTypeIsCheckedBeforeTheBody(t *testing.T) {
	s := newStation(t, nil)
	s.want(s.post([]byte("not snappy"), "Content-Type", "text/plain", "Content-Encoding", "snappy"), 415, "unsupported content type")
	s.want(s.post([]byte("not snappy"), "Content-Type", "application/x-protobuf", "Content-Encoding", "gzip"), 415, "gzip")
}

func TestWrongSchemaIsRefusedWithAHint(t *testing.T) {
	s := newStation(t, nil)
	v1, v2 := bodyV1(t, one(kepler, at(0, 1))), bodyV2(t, asV2(one(kepler, at(0, 1))))
	metadata := bodyV1(t, &prompb.WriteRequest{Metadata: []prompb.MetricMetadata{{MetricFamilyName: "up"}}})
	s.want(s.post(v2, "Content-Type", "application/x-protobuf"), 415, "io.prometheus.write.v2.Request")
	a := s.post(v1, "Content-Type", contentTypeV2)
	s.want(a, 415, "nothing was stored")
	s.wantWritten(a, "0", "0", "0")
	s.want(s.post(metadata, "Content-Type", contentTypeV2), 415, "nothing was stored")
	s.wantBooked(0)
}

func TestContentEncodings(t *testing.T) {
	s := newStation(t, nil)
	raw, err := one(kepler, at(0, 1)).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	zs, sn := w.EncodeAll(raw, nil), snappy.Encode(nil, raw)
	f := func(encoding string, body []byte, want int) {
		t.Helper()
		headers := []string{"Content-Type", "application/x-protobuf"}
		if encoding != "" {
			headers = append(headers, "Content-Encoding", encoding)
		}
		if a := s.post(body, headers...); a.code != want {
			t.Errorf("%q: %d %s, want %d", encoding, a.code, a.text, want)
		}
	}
	f("snappy", sn, 204)
	f("Snappy", sn, 204)
	f("", sn, 204)
	f("identity", sn, 204)
	f("zstd", zs, 204)
	f("gzip", sn, 415)
	f("deflate", sn, 415)
	f("br", sn, 415)
	f("snappy, snappy", sn, 415)
	f("zstd", sn, 400)
	f("snappy", zs, 400)
	f("snappy", raw, 400)
	if got := s.metric(`wattledger_requests_total{code="204",encoding="zstd",proto="v1"}`); got != "1" {
		t.Errorf("zstd requests counted: %q", got)
	}
	// 2.0 with zstd is not in the specification but not forbidden either.
	raw, err = asV2(one(kepler, at(0, 1))).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	a := s.post(w.EncodeAll(raw, nil), "Content-Type", contentTypeV2, "Content-Encoding", "zstd")
	s.want(a, 204)
	s.wantWritten(a, "1", "0", "0")
}

// The framed format is a common mistake and not what the protocol asks for.
func TestFramedSnappyIsRefused(t *testing.T) {
	s := newStation(t, nil)
	var framed bytes.Buffer
	w := snappy.NewBufferedWriter(&framed)
	raw, _ := one(kepler, at(0, 1)).Marshal()
	if _, err := w.Write(raw); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	s.want(s.post(framed.Bytes(), "Content-Encoding", "snappy"), 400, "snappy block format")
}

func TestVersionHeaderDoesNotChooseTheSchema(t *testing.T) {
	s := newStation(t, nil)
	v1 := bodyV1(t, one(kepler, at(0, 1)))
	for _, version := range []string{"0.1.0", "2.0.0", "9", "nonsense"} {
		s.want(s.post(v1, "X-Prometheus-Remote-Write-Version", version), 204)
	}
}

func TestUnknownFieldsAreSkipped(t *testing.T) {
	s := newStation(t, nil)
	unknown := []byte{
		7 << 3, 0x96, 0x01, // varint
		8<<3 | 1, 1, 2, 3, 4, 5, 6, 7, 8,
		9<<3 | 2, 2, 'h', 'i', // bytes
		10<<3 | 5, 1, 2, 3, 4, // fixed32
	}
	ts := one(kepler, at(0, 1)).Timeseries[0]
	series, _ := ts.Marshal()
	series = append(series, unknown...)
	raw := append(binary.AppendUvarint([]byte{0x0a}, uint64(len(series))), series...)
	raw = append(raw, unknown...)
	s.want(s.post(snappy.Encode(nil, raw)), 204)
	s.wantBooked(1)

	raw2, _ := asV2(one(kepler, at(0, 1))).Marshal()
	s.want(s.post(snappy.Encode(nil, append(raw2, unknown...)), "Content-Type", contentTypeV2), 204)
	s.wantBooked(2)

	s.want(s.post(snappy.Encode(nil, append(bytes.Clone(raw), 7<<3|3, 7<<3|4))), 400, "malformed protobuf: group")
	s.want(s.post(snappy.Encode(nil, append(bytes.Clone(raw), 0x00, 0x01))), 400, "field number 0")
	s.want(s.post(snappy.Encode(nil, append(bytes.Clone(raw), 7<<3|7))), 400, "wire type")
	s.wantBooked(2)
}

func TestTruncatedProtobufIsRefusedWhole(t *testing.T) {
	s := newStation(t, nil)
	two := one(kepler, at(time.Minute, 1))
	two.Timeseries = append(two.Timeseries, two.Timeseries[0])
	v1, _ := two.Marshal()
	v2, _ := asV2(two).Marshal()
	// A cut between two top-level fields leaves a shorter but whole message.
	whole := map[int]bool{0: true, len(v1) / 2: true}
	for n := range v1 {
		if !whole[n] {
			s.want(s.post(snappy.Encode(nil, v1[:n])), 400, "malformed protobuf")
		}
	}
	for n := len(v2) - 3; n < len(v2); n++ {
		s.want(s.post(snappy.Encode(nil, v2[:n]), "Content-Type", contentTypeV2), 400, "malformed protobuf")
	}
	s.wantBooked(0)
	if s.tape.len() != 0 {
		t.Errorf("%d records journalled", s.tape.len())
	}
}

func TestCorruptSnappyIsRefused(t *testing.T) {
	s := newStation(t, nil)
	good := bodyV1(t, one(kepler, at(0, 1)))
	for i, bad := range [][]byte{
		[]byte("\xff\xff\xff\xff\xff\xff"), // no length
		good[:len(good)-1],
		append([]byte{0xff, 0xff, 0x7f}, good[1:]...), // says 2 MiB
		[]byte{0x80, 0x80, 0x80, 0x08},                // says 16 MiB and holds nothing
	} {
		if a := s.post(bad, "Content-Encoding", "snappy"); a.code != 400 || !strings.Contains(a.text, "undecodable body") {
			t.Errorf("body %d: %d %s", i, a.code, a.text)
		}
	}
	s.wantBooked(0)
}

func TestEmptyBodyAndEmptyRequest(t *testing.T) {
	s := newStation(t, nil)
	s.want(s.post(nil, "Content-Encoding", "snappy"), 400, "empty body")
	s.want(s.postV1(&prompb.WriteRequest{}), 204)
	a := s.postV2(&writev2.Request{})
	s.want(a, 204)
	s.wantWritten(a, "0", "0", "0")
	s.want(s.postV1(&prompb.WriteRequest{Metadata: []prompb.MetricMetadata{
		{Type: prompb.MetricMetadata_COUNTER, MetricFamilyName: "kepler_node_cpu_joules_total", Unit: "joules", Help: "h"},
		{Type: 99, MetricFamilyName: "kepler_odd"},
	}}), 204)
	if s.tape.len() != 0 {
		t.Errorf("%d records journalled for requests without samples", s.tape.len())
	}
}

func TestBodyLimits(t *testing.T) {
	s := newStation(t, func(c *Config) { c.MaxBodyBytes, c.MaxDecodedBytes = 1000, 2000 })
	big := bytes.Repeat([]byte{'x'}, 1001)
	s.want(s.post(big, "Content-Encoding", "snappy"), 400, "max_body_bytes (1000)")
	// Without a Content-Length the limit is found while reading.
	s.want(s.do(http.MethodPost, io.MultiReader(bytes.NewReader(big)), "Content-Encoding", "snappy"), 400, "max_body_bytes (1000)")
	s.want(s.post(snappy.Encode(nil, make([]byte, 2001)), "Content-Encoding", "snappy"), 400, "max_decoded_bytes (2000)")
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	s.want(s.post(w.EncodeAll(make([]byte, 2001), nil), "Content-Encoding", "zstd"), 400, "max_decoded_bytes (2000)")
}

func TestRequestLimits(t *testing.T) {
	s := newStation(t, func(c *Config) { c.MaxSeriesPerRequest, c.MaxSamplesPerRequest, c.MaxSymbols = 3, 4, 9 })
	several := func(series, samples int) *prompb.WriteRequest {
		r := &prompb.WriteRequest{}
		for range series {
			ts := prompb.TimeSeries{Labels: labels("__name__", "kepler_x")}
			for range samples {
				ts.Samples = append(ts.Samples, at(0, 1))
			}
			r.Timeseries = append(r.Timeseries, ts)
		}
		return r
	}
	s.want(s.postV1(several(3, 1)), 204)
	s.want(s.postV1(several(1, 4)), 204)
	s.wantBooked(7)
	s.want(s.postV1(several(4, 1)), 400, "max_series_per_request (3)", "nothing was stored")
	s.want(s.postV1(several(1, 5)), 400, "max_samples_per_request (4)")
	s.want(s.postV1(several(3, 2)), 400, "max_samples_per_request (4)")
	s.want(s.postV2(asV2(several(3, 1))), 204)
	s.want(s.postV2(asV2(several(4, 1))), 400, "max_series_per_request (3)")
	s.want(s.postV2(asV2(several(1, 5))), 400, "max_samples_per_request (4)")
	many := asV2(several(1, 1))
	many.Symbols = append(many.Symbols, "1", "2", "3", "4", "5", "6")
	s.want(s.postV2(many), 204)
	many.Symbols = append(many.Symbols, "7")
	s.want(s.postV2(many), 400, "max_symbols (9)")
	s.wantBooked(11)
}

// Samples of new series must not count twice against the limit.
func TestSampleLimitCountsNewSeriesOnce(t *testing.T) {
	s := newStation(t, func(c *Config) { c.MaxSamplesPerRequest = 10 })
	r := &prompb.WriteRequest{}
	for i := range 10 {
		r.Timeseries = append(r.Timeseries, prompb.TimeSeries{
			Labels:  labels("__name__", "kepler_x", "i", string(rune('a'+i))),
			Samples: []prompb.Sample{at(0, 1)},
		})
	}
	s.want(s.postV1(r), 204)
	s.want(s.postV1(r), 204)
	s.wantBooked(20)
}
