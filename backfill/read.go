package backfill

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/golang/snappy"
	"github.com/prometheus/prometheus/prompb"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
)

// read asks by remote read. Prometheus adds its external labels itself.
func (s *Source) read(ctx context.Context, fromMs, toMs int64) ([]prompb.TimeSeries, error) {
	req := prompb.ReadRequest{
		Queries: []*prompb.Query{{
			StartTimestampMs: fromMs, EndTimestampMs: toMs - 1,
			Matchers: []*prompb.LabelMatcher{{Type: prompb.LabelMatcher_RE, Name: "__name__", Value: s.match}},
		}},
		AcceptedResponseTypes: []prompb.ReadRequest_ResponseType{prompb.ReadRequest_STREAMED_XOR_CHUNKS, prompb.ReadRequest_SAMPLES},
	}
	raw, err := req.Marshal()
	if err != nil {
		return nil, err
	}
	resp, err := s.post(ctx, "api/v1/read", http.Header{
		"Content-Type": {"application/x-protobuf"}, "Content-Encoding": {"snappy"}, "X-Prometheus-Remote-Read-Version": {"0.1.0"},
	}, snappy.Encode(nil, raw))
	var status *statusError
	if errors.As(err, &status) {
		switch status.code {
		// 400 is how some answer a path they do not know.
		case http.StatusBadRequest, http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusUnsupportedMediaType, http.StatusNotImplemented:
			return nil, errNotOffered
		}
	}
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if strings.HasPrefix(resp.Header.Get("Content-Type"), "application/x-streamed-protobuf") {
		return readChunks(resp.Body)
	}
	return readSamples(resp.Body)
}

func readSamples(body io.Reader) ([]prompb.TimeSeries, error) {
	packed, err := io.ReadAll(body)
	if err != nil {
		return nil, err
	}
	raw, err := snappy.Decode(nil, packed)
	if err != nil {
		return nil, fmt.Errorf("remote read: %w", err)
	}
	var answer prompb.ReadResponse
	if err := answer.Unmarshal(raw); err != nil {
		return nil, fmt.Errorf("remote read: %w", err)
	}
	var list []prompb.TimeSeries
	for _, result := range answer.Results {
		for _, ts := range result.Timeseries {
			list = append(list, *ts)
		}
	}
	return list, nil
}

// maxFrameBytes bounds what is allocated on the word of a frame. Prometheus
// cuts frames at 1 MiB, or after the first series beyond.
const maxFrameBytes = 256 << 20

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// readChunks reads frames: length as a varint, CRC-32C, a message. A series
// with many chunks goes on in the next frame.
func readChunks(body io.Reader) ([]prompb.TimeSeries, error) {
	in := bufio.NewReaderSize(body, 64<<10)
	var list []prompb.TimeSeries
	var frame []byte
	for {
		size, err := binary.ReadUvarint(in)
		if err == io.EOF {
			return list, nil
		}
		if err != nil {
			return nil, fmt.Errorf("remote read: %w", err)
		}
		if size > maxFrameBytes {
			return nil, fmt.Errorf("remote read: a frame of %d bytes", size)
		}
		var sum [4]byte
		if _, err := io.ReadFull(in, sum[:]); err != nil {
			return nil, fmt.Errorf("remote read: %w", err)
		}
		frame = slices.Grow(frame[:0], int(size))[:size]
		if _, err := io.ReadFull(in, frame); err != nil {
			return nil, fmt.Errorf("remote read: %w", err)
		}
		if crc32.Checksum(frame, castagnoli) != binary.BigEndian.Uint32(sum[:]) {
			return nil, errors.New("remote read: a frame was damaged on its way")
		}
		var part prompb.ChunkedReadResponse
		if err := part.Unmarshal(frame); err != nil {
			return nil, fmt.Errorf("remote read: %w", err)
		}
		for _, series := range part.ChunkedSeries {
			samples, err := decodeChunks(series.Chunks)
			if err != nil {
				return nil, fmt.Errorf("remote read: %w", err)
			}
			if n := len(list); n > 0 && slices.EqualFunc(list[n-1].Labels, series.Labels, func(a, b prompb.Label) bool { return compareLabels(a, b) == 0 }) {
				list[n-1].Samples = append(list[n-1].Samples, samples...)
				continue
			}
			list = append(list, prompb.TimeSeries{Labels: series.Labels, Samples: samples})
		}
	}
}

// decodeChunks returns the samples of chunks, each time once: chunks of a
// series may overlap.
func decodeChunks(chunks []prompb.Chunk) (samples []prompb.Sample, err error) {
	var it chunkenc.Iterator
	for _, c := range chunks {
		if c.Type != prompb.Chunk_XOR {
			continue // histograms are not booked
		}
		chunk, err := chunkenc.FromData(chunkenc.EncXOR, c.Data)
		if err != nil {
			return nil, err
		}
		it = chunk.Iterator(it)
		for it.Next() != chunkenc.ValNone {
			t, v := it.At()
			samples = append(samples, prompb.Sample{Timestamp: t, Value: v})
		}
		if err := it.Err(); err != nil {
			return nil, err
		}
	}
	return samples, nil
}
