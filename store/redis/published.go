package redis

import "hash/maphash"

// published remembers what was last written to a stream for each workload and
// window, so that nothing is written twice. It holds between one and two times
// size windows, the newest: what comes again is almost always new. An older
// window that comes again unchanged is written again; consumers, who take rows
// by workload, start, seconds and revision, do not mind.
type published struct {
	size      int
	cur, prev map[uint64]uint64 // hash of the window → hash of all that was written
}

func newPublished(size int) published {
	return published{size: size, cur: map[uint64]uint64{}}
}

func (p *published) put(window, content uint64) {
	if len(p.cur) >= p.size {
		p.prev, p.cur = p.cur, make(map[uint64]uint64, p.size)
	}
	p.cur[window] = content
}

// older notes what was written before everything that is known.
func (p *published) older(window, content uint64) {
	if _, ok := p.get(window); ok {
		return
	}
	if p.prev == nil {
		p.prev = map[uint64]uint64{}
	}
	p.prev[window] = content
}

func (p *published) get(window uint64) (content uint64, ok bool) {
	if content, ok = p.cur[window]; !ok {
		content, ok = p.prev[window]
	}
	return content, ok
}

func (p *published) len() int { return len(p.cur) + len(p.prev) }

var seed = maphash.MakeSeed()

func hash(parts ...string) uint64 {
	var h maphash.Hash
	h.SetSeed(seed)
	for _, p := range parts {
		h.WriteString(p)
		h.WriteByte(0)
	}
	return h.Sum64()
}
