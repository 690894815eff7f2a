package influx

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"strings"
)

// zipped compresses what is written. The client can do so too, but races with
// itself over the error of its compressor.
type zipped struct{ http.RoundTripper }

func (z zipped) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body == nil || !strings.HasSuffix(r.URL.Path, "/write") {
		return z.RoundTripper.RoundTrip(r)
	}
	var b bytes.Buffer
	w, _ := gzip.NewWriterLevel(&b, gzip.BestSpeed) // the level is a good one
	_, err := io.Copy(w, r.Body)
	if closeErr := r.Body.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		return nil, err
	}
	text := b.Bytes()
	r = r.Clone(r.Context())
	r.Header.Set("Content-Encoding", "gzip")
	r.ContentLength = int64(len(text))
	r.Body = io.NopCloser(bytes.NewReader(text))
	r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(text)), nil }
	return z.RoundTripper.RoundTrip(r)
}

func (z zipped) CloseIdleConnections() {
	if c, ok := z.RoundTripper.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}
