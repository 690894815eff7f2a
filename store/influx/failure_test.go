package influx

import (
	"net/http"
	"strings"
	"testing"

	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/store"
	"github.com/wattledger/wattledger/test/storetest"
)

func TestFailures(t *testing.T) {
	t.Parallel()
	cfg := testConfig(shared.URL)
	cfg.BatchLines, cfg.Gzip = 100, false // several requests to a delivery, of some size
	storetest.RunFollower(t, storetest.Backend{
		Addr: strings.TrimPrefix(shared.URL, "http://"), Write: "/api/v2/write", Later: "bucket=" + cfg.hourly(), Setting: "influxdb.url", HTTP: true,
		Open: func(t *testing.T, addr string) store.Follower {
			c := cfg
			c.URL = "http://" + addr
			f, refused := open(t, c)
			t.Cleanup(func() {
				if len(refused.list) != 0 {
					t.Errorf("refused: %v", refused.list[0])
				}
			})
			return f
		},
		Rows: func(t *testing.T) map[string]power.Microjoules {
			rows := map[string]power.Microjoules{}
			for _, bucket := range []string{cfg.Bucket, cfg.hourly()} {
				err := influxql{cfg, http.DefaultClient}.query(t.Context(), bucket, `SELECT "energy_uj", "seconds" FROM "energy" GROUP BY *`, nil, func(s series) error {
					w := power.Workload{Cluster: s.Tags["cluster"], Namespace: s.Tags["namespace"], Kind: s.Tags["workload_kind"], Name: s.Tags["workload"]}
					for _, v := range s.Values {
						var n [3]int64
						for i := range n {
							var err error
							if n[i], err = integer(v[i]); err != nil {
								return err
							}
						}
						key := storetest.RowKey(w, n[0], int32(n[2]))
						if _, ok := rows[key]; ok {
							t.Errorf("%s is there twice", key)
						}
						rows[key] = power.Microjoules(n[1])
					}
					return nil
				})
				if err != nil {
					t.Fatal(err)
				}
			}
			return rows
		},
	})
}
