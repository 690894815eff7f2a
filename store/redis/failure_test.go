package redis

import (
	"strconv"
	"testing"

	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/store"
	"github.com/wattledger/wattledger/test/redistest"
	"github.com/wattledger/wattledger/test/storetest"
)

func TestFailures(t *testing.T) {
	s := redistest.Start(t)
	whole := func(text any) int64 {
		n, err := strconv.ParseInt(text.(string), 10, 64)
		if err != nil {
			t.Error(err)
		}
		return n
	}
	storetest.RunFollower(t, storetest.Backend{
		Addr: s.Addr, Write: "xadd", Later: "xadd\r\n$" + strconv.Itoa(len(hours)) + "\r\n" + hours, Setting: "redis.url",
		Open: func(t *testing.T, addr string) store.Follower { return follower(t, "redis://"+addr) },
		Rows: func(t *testing.T) map[string]power.Microjoules {
			rows := map[string]power.Microjoules{}
			for _, key := range []string{charges, hours} {
				list := s.Stream(key)
				books(t, list) // nothing twice
				for _, m := range list {
					w := power.Workload{Cluster: "c1", Namespace: m.Values["namespace"].(string), Kind: "deployment", Name: m.Values["workload"].(string)}
					rows[storetest.RowKey(w, whole(m.Values["start"]), int32(whole(m.Values["seconds"])))] = power.Microjoules(whole(m.Values["energy_uj"]))
				}
			}
			return rows
		},
	})
}
