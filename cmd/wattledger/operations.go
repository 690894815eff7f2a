package main

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/wattledger/wattledger/httpapi"
	"github.com/wattledger/wattledger/ledger"
	"github.com/wattledger/wattledger/receiver"
)

// readiness tells whether the journal has been replayed, and how the followers are.
type readiness struct {
	replayed  atomic.Bool
	following *followers
	storage   *ledger.Inspector
	senders   *receiver.Handler
}

func (r *readiness) set() { r.replayed.Store(true) }

func (r *readiness) checks(context.Context) []httpapi.Check {
	c := httpapi.Check{Name: "replay", OK: r.replayed.Load(), Detail: "the journal has been replayed"}
	if !c.OK {
		c.Detail = "replaying the journal"
	}
	list := append(append([]httpapi.Check{c}, r.following.checks()...), damage(r.storage)...)
	for _, line := range r.senders.Advice() { // the books are right all the same
		list = append(list, httpapi.Check{Name: "senders", OK: true, Detail: "warning: " + line})
	}
	return list
}

// damage says in /-/ready that there is some. It is no reason to take no samples.
func damage(i *ledger.Inspector) []httpapi.Check {
	n := i.Findings()
	if n == 0 {
		return nil
	}
	return []httpapi.Check{{Name: "storage", OK: true, Detail: fmt.Sprintf("%d damaged places; wattledger verify names them, wattledger repair keeps what is good", n)}}
}
