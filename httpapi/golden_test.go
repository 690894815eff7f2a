package httpapi

import (
	"flag"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/test/accesstest"
)

var update = flag.Bool("update", false, "write testdata/answers.golden anew")

// twoClusters are books with what makes an answer hard: a tariff that changes
// within an hour, hours in which nothing was seen, and a second cluster, of
// another price and currency, that joined in the middle of an hour.
func twoClusters() *books {
	b := &books{}
	for _, part := range []*books{
		cluster(now.Add(-9*time.Hour), now.Add(-6*time.Hour), seed),
		cluster(now.Add(-4*time.Hour), now.Add(-90*time.Minute), seed),
		cluster(now.Add(-90*time.Minute), now, physical),
	} {
		b.charges = append(b.charges, part.charges...)
		b.nodes = part.nodes
	}
	euro := seed
	euro.Currency = "EUR"
	second := cluster(now.Add(-50*time.Minute), now.Add(-90*time.Second), euro)
	holders := map[*power.Holder]*power.Holder{}
	for _, c := range second.charges {
		h := holders[c.Holder]
		if h == nil {
			moved := *c.Holder
			h = &moved
			h.Cluster, h.Workload.Cluster, h.Node = "c2", "c2", "n2"
			if h.Container != "" && h.ID != "" {
				h.ID = "2" + h.ID
			}
			holders[c.Holder] = h
		}
		c.Holder = h
		b.charges = append(b.charges, c)
	}
	for _, n := range second.nodes {
		n.Cluster, n.Node = "c2", "n2"
		b.nodes = append(b.nodes, n)
	}
	slices.SortStableFunc(b.charges, func(x, y power.Charge) int { return int(x.StartMs - y.StartMs) })
	return b
}

// TestGoldenAnswers asks books that never change, and holds every answer to the byte.
func TestGoldenAnswers(t *testing.T) {
	engine := stored(t, twoClusters())
	s := serve(t, engine)
	file := accesstest.New(t)
	grants := []struct{ token, who string }{
		{file.Token("one", "scopes: [read], clusters: [c2]"), "one cluster"},
		{file.Token("both", "scopes: [read], clusters: [c1, c2]"), "both clusters"},
	}
	tokens := file.Open()
	guarded := serve(t, engine, func(_ *Config, ops *Operations) { ops.Tokens = tokens })

	var got strings.Builder
	ask := func(s *server, path string, header ...string) {
		res, body := s.do("GET", path, "", append(header, "X-Request-Id", "golden")...)
		fmt.Fprintf(&got, "GET %s\n%d %s\n%s\n", path, res.StatusCode, res.Header.Get("Content-Type"), body)
	}
	for _, path := range goldenQuestions {
		ask(s, path)
	}
	for _, grant := range grants {
		fmt.Fprintf(&got, "# a token of %s\n", grant.who)
		for _, path := range []string{"/cost/hourly?start=now-2h&aggregate=cluster", "/cost/current?cluster=c1", "/power/nodes"} {
			ask(guarded, path, "Authorization", "Bearer "+grant.token)
		}
	}

	const golden = "testdata/answers.golden"
	if *update {
		if err := os.WriteFile(golden, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	question := ""
	wants := strings.Split(string(want), "\n")
	for i, line := range strings.Split(got.String(), "\n") {
		if strings.HasPrefix(line, "GET ") {
			question = line
		}
		if i >= len(wants) || line != wants[i] {
			t.Fatalf("%s: line %d is\n%s\nwant\n%s", question, i+1, line, wants[min(i, len(wants)-1)])
		}
	}
	if len(wants) != strings.Count(got.String(), "\n")+1 {
		t.Errorf("%s holds more than was asked", golden)
	}
	if strings.Count(got.String(), fmt.Sprintf("\n%d ", http.StatusInternalServerError)) > 0 {
		t.Error("an answer is an internal error")
	}
}

var goldenQuestions = []string{
	"/power/current",
	"/power/current?time_range=1h&namespace=shop&limit=1",
	"/power/current?workload_type=web&node=n1&cluster=c1",
	"/power/containers?sort=name&limit=3",
	"/power/containers?sort=power_watts&pod=web-1",
	"/power/nodes",
	"/power/nodes?node=n3",
	"/cost/current",
	"/cost/current?namespace=ml&aggregate=workload",
	"/cost/current?cluster=c1&aggregate=cluster,node,pod",
	"/cost/current?cluster=c3",
	"/cost/hourly",
	"/cost/hourly?start=now-12h&aggregate=namespace",
	"/cost/hourly?start=now-3h&cluster=c1&aggregate=cluster,workload_type",
	"/cost/hourly?start=now-2h&end=now-20m&aggregate=node,pod",
	"/cost/hourly?start=2026-03-10T08:00:00Z&end=2026-03-10T10:00:00Z&workload=shop:web&aggregate=container_id",
	"/cost/hourly?start=now-5h&workload_type=system&aggregate=workload_kind",
	"/cost/hourly?start=now-2h&workload_type=web&cluster=c2",
	"/cost/hourly?start=now-3h&aggregate=cluster,namespace&format=csv",
	"/cost/hourly?start=now-8h&format=csv",
	"/cost/hourly?start=2026-01-01T00:00:00Z&end=2026-01-01T02:00:00Z",
	"/cost/workload/c1:ml:job:ml-training",
	"/cost/workload/c1:shop:deployment:web?start=now-7h&step=30m",
	"/cost/workload/c2:blog:deployment:web?start=now-10m&step=1m",
	"/cost/workload/web",
	"/cost/workload/nobody",
	"/profile/workload-types",
	"/profile/workload-types?cluster=c2&start=now-1h",
	"/cost/hourly?start=tomorrow&namespac=x&limit=",
	"/cost/workload/ml-training?step=90s",
}
