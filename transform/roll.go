package transform

import (
	"iter"

	"github.com/wattledger/wattledger/internal/index"
)

// A roll keeps what is known of subjects that can say themselves which they are.
type roll[T interface {
	comparable
	subject() subject
}] struct {
	byHash index.Index
	list   []T // the zero T where one was dropped
	free   []uint32
}

// number returns where s is in the list.
func (r *roll[T]) number(s subject) (uint32, bool) {
	return r.byHash.Find(index.Hash(s), func(i uint32) bool { return r.list[i].subject() == s })
}

// get returns what is known of s, the zero T for nothing.
func (r *roll[T]) get(s subject) (x T) {
	if i, ok := r.number(s); ok {
		return r.list[i]
	}
	return x
}

// add adds one whose subject is not there.
func (r *roll[T]) add(x T) (number uint32) {
	if k := len(r.free); k > 0 {
		number, r.free = r.free[k-1], r.free[:k-1]
		r.list[number] = x
	} else {
		number = uint32(len(r.list))
		r.list = append(r.list, x)
	}
	r.byHash.Add(index.Hash(x.subject()), number)
	return number
}

func (r *roll[T]) drop(s subject) {
	if i, ok := r.number(s); ok {
		var none T
		r.byHash.Remove(index.Hash(s), i)
		r.list[i] = none
		r.free = append(r.free, i)
	}
}

func (r *roll[T]) len() int { return r.byHash.Len() }

// all is safe against dropping what it yields.
func (r *roll[T]) all() iter.Seq[T] {
	return func(yield func(T) bool) {
		var none T
		for _, x := range r.list {
			if x != none && !yield(x) {
				return
			}
		}
	}
}
