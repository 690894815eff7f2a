package redis

import (
	"errors"
	"fmt"
	"strings"

	goredis "github.com/redis/go-redis/v9"

	"github.com/wattledger/wattledger/store"
)

// advice says, by how a server's answer begins, what to do about it.
var advice = []struct{ prefix, text string }{
	{"OOM", "the server is full (maxmemory): give it more memory"},
	{"NOAUTH", "the server wants a password and the URL has none"},
	{"WRONGPASS", "the server refuses the user or password in the URL"},
	{"ERR AUTH", "the server has no password set, but the URL has one"},
	{"NOPERM", "the user in the URL may not do all that is needed: ~wattledger:* &wattledger:* +@read +@write +@transaction +@connection +publish +info"},
	{"READONLY", "the server is a replica: name the primary, or Sentinels with ?master_name="},
	{"MOVED", "the server is part of a cluster: name its nodes, ?addr=host:port for each further one"},
	{"ASK", "the server is part of a cluster: name its nodes, ?addr=host:port for each further one"},
	{"CLUSTERDOWN", "the cluster is down"},
	{"MISCONF", "the server cannot save to its disk and refuses writes"},
	{"LOADING", "the server is still loading its data"},
	{"MASTERDOWN", "the primary is down"},
	{"NOREPLICAS", "too few replicas"},
	{"WRONGTYPE", "a key of ours holds something else: is the prefix used by another program?"},
	{"ERR The ID specified in XADD", "another program writes to the stream"},
}

// explain makes one clear message of an error: the setting that it is about,
// what to do, and the server's own words.
func explain(err error) error {
	if err == nil || errors.Is(err, store.ErrLostPlace) {
		return err
	}
	var answer goredis.Error
	text := err.Error()
	if errors.As(err, &answer) {
		text = answer.Error()
	}
	for _, a := range advice {
		if strings.HasPrefix(text, a.prefix) {
			return fmt.Errorf("redis.url: %s: %w", a.text, err)
		}
	}
	return fmt.Errorf("redis.url: %w", err)
}

// firstError looks at every command of a pipeline that was executed. Of several errors
// the one that was the cause is returned: the others only follow from it.
func firstError(cmds []goredis.Cmder, err error) error {
	for _, c := range cmds {
		if e := c.Err(); e != nil && !errors.Is(e, goredis.Nil) && !strings.HasPrefix(e.Error(), "EXECABORT") {
			return fmt.Errorf("%s: %w", c.Name(), e)
		}
	}
	if errors.Is(err, goredis.Nil) {
		return nil
	}
	return err
}
