package receiver

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/prompb"

	"github.com/wattledger/wattledger/access"
	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/receiver/metric"
	"github.com/wattledger/wattledger/test/accesstest"
	"github.com/wattledger/wattledger/test/wire"
)

// clusterTable maps kepler_ series to the cluster they name; Zone holds the name
// of the metric alone.
type clusterTable struct{}

func (clusterTable) Knows([]byte) bool { return true }

func (clusterTable) Metrics() []string { return nil }

func (clusterTable) Map(labels []power.Label) (metric.Mapping, bool) {
	m, ok := wire.KeplerTable{}.Map(labels)
	m.Holder.Cluster, m.Unnamed = "default", true
	for _, l := range labels {
		switch l.Name {
		case "cluster":
			m.Holder.Cluster, m.Unnamed = l.Value, false
		case "__name__":
			m.Zone = "/" + l.Value
		}
	}
	return m, ok
}

// as makes the station's requests those of a token.
func (s *station) as(g *access.Grant) {
	s.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.handler.ServeHTTP(w, r.WithContext(access.With(r.Context(), g)))
	}))
	s.Cleanup(server.Close)
	s.url = server.URL
}

// series is a request of kepler_x of each cluster; "" names none.
func seriesOf(value float64, clusters ...string) *prompb.WriteRequest {
	r := &prompb.WriteRequest{}
	for _, c := range clusters {
		ls := labels("__name__", "kepler_x", "node", "n")
		if c != "" {
			ls = labels("__name__", "kepler_x", "cluster", c, "node", "n")
		}
		r.Timeseries = append(r.Timeseries, one(ls, at(0, value)).Timeseries...)
	}
	return r
}

func (s *station) bookedSeries() []string {
	var names []string
	for _, b := range s.book.Taken() {
		names = append(names, b.Series)
	}
	return names
}

// A token may write its clusters. What is of another is refused by name, the
// good ones beside it are kept, and a replay of the journal comes to the same.
func TestTokensWriteTheirClusters(t *testing.T) {
	s := newStationOf(t, clusterTable{}, nil)
	a := accesstest.Grant(t, "a", "scopes: [write], clusters: [a]")
	ab := accesstest.Grant(t, "ab", "scopes: [write], clusters: [b, a]")
	b := accesstest.Grant(t, "b", "scopes: [write], clusters: [b]")
	f := func(g *access.Grant, v2 bool, r *prompb.WriteRequest, code int, texts []string, want ...string) {
		t.Helper()
		s.as(g)
		before := len(s.bookedSeries())
		var got answer
		if v2 {
			got = s.postV2(asV2(r))
			s.wantWritten(got, strconv.Itoa(len(want)), "0", "0")
		} else {
			got = s.postV1(r)
		}
		s.want(got, code, texts...)
		if booked := s.bookedSeries()[before:]; !slices.Equal(booked, want) {
			t.Errorf("%s wrote %q, want %q", g.Name(), booked, want)
		}
	}
	for _, v2 := range []bool{false, true} {
		// First by one who may write everything, so that all series are known.
		f(nil, v2, seriesOf(1, "a", "b", ""), 204, nil, "a/kepler_x", "b/kepler_x", "default/kepler_x")
		for range 2 { // new to its token, then known
			f(a, v2, seriesOf(1, "a", "b", ""), 400, []string{
				"1 of 3 samples rejected, 2 stored", `the token may not write the cluster "b"`, `cluster="b"`, "external label cluster"},
				"a/kepler_x", "a/kepler_x")
			f(b, v2, seriesOf(1, "", "b"), 204, nil, "b/kepler_x", "b/kepler_x")
			f(ab, v2, seriesOf(1, "a", "b"), 204, nil, "a/kepler_x", "b/kepler_x")
			// Which of two clusters is one that is not named?
			f(ab, v2, seriesOf(1, "", "b"), 400, []string{"1 of 2 samples rejected", `the cluster "default"`}, "b/kepler_x")
			f(b, v2, seriesOf(1, "a"), 400, []string{"1 of 1 samples rejected, 0 stored"})
			f(nil, v2, seriesOf(1, "", "b"), 204, nil, "default/kepler_x", "b/kepler_x")
		}
		// What maps to nothing is nobody's, and is no fault.
		s.as(b)
		s.want(s.postV1(one(labels("__name__", "up", "cluster", "a"), at(0, 1))), 204)
	}
	if got := s.metric(`wattledger_rejected_total{reason="cluster"}`); got != "12" {
		t.Errorf("%s samples rejected for their cluster, want 12", got)
	}

	again := newStationOf(t, clusterTable{}, nil)
	if _, err := again.replay(s.tape, 1); err != nil {
		t.Fatal(err)
	}
	if got, want := again.bookedSeries(), s.bookedSeries(); !slices.Equal(got, want) {
		t.Errorf("the replay books\n%q, the line booked\n%q", got, want)
	}
}

// A token that is over its rate is told so before its body is read, and when to
// come again.
func TestSampleRate(t *testing.T) {
	s := newStation(t, nil)
	s.as(accesstest.Grant(t, "slow", "scopes: [write], samples_per_second: 1"))
	r := &prompb.WriteRequest{}
	for i := range 12 { // five may come at once, seven are a debt
		r.Timeseries = append(r.Timeseries, one(labels("__name__", "kepler_x", "node", fmt.Sprint(i)), at(0, 1)).Timeseries...)
	}
	s.want(s.postV1(r), 204)
	s.wantBooked(12)
	body, feed := io.Pipe() // a body that never comes: to read it would take for ever
	defer feed.Close()
	answered := make(chan answer, 1)
	go func() { answered <- s.do(http.MethodPost, body, "Content-Encoding", "snappy") }()
	select {
	case a := <-answered:
		s.want(a, 503, `the token "slow" is over its samples_per_second (1)`, "send it again")
		if wait, err := strconv.Atoi(a.header.Get("Retry-After")); err != nil || wait < 5 || wait > 8 {
			t.Errorf("Retry-After %q, want 7", a.header.Get("Retry-After"))
		}
	case <-time.After(10 * time.Second):
		t.Fatal("no answer before the body")
	}
	s.wantBooked(12)
	if s.tape.len() != 1 {
		t.Errorf("%d records", s.tape.len())
	}
	// Others are not held to it.
	s.as(accesstest.Grant(t, "other", "scopes: [write], samples_per_second: 1000000"))
	s.want(s.postV1(r), 204)
	if strings.Contains(s.metric(`wattledger_requests_total{code="503",encoding="snappy",proto="v1"}`), "0") {
		t.Error("the refusal is not counted")
	}
}
