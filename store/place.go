package store

import "errors"

// ErrLostPlace says that a follower cannot simply go on: the outbox no longer
// has what it has yet to take, or its backend no longer has what it was given
// (a server that came back empty or older). A Follower's Write answers it,
// wrapped, and is then given the stored rows again, as deliveries with Resync
// set, all with the same FromSeq and ToSeq. The last of them has no rows and
// says that the backend now has everything up to ToSeq.
var ErrLostPlace = errors.New("the stored rows must be sent again")
