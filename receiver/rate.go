package receiver

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/wattledger/wattledger/receiver/decode"
)

// A rateError says that a token has used up its rate. It is answered 503.
type rateError struct {
	token     string
	perSecond float64
	due       time.Duration // until it is paid off
}

func (e *rateError) Error() string {
	return fmt.Sprintf("%v: the token %q is over its samples_per_second (%g)", errOverloaded, decode.Clip(e.token, 100), e.perSecond)
}

func (e *rateError) Is(target error) bool { return target == errOverloaded }

// secondsToWait is how long a sender is to wait, in seconds.
func secondsToWait(err error, attempt int) int {
	var rate *rateError
	if errors.As(err, &rate) {
		return int(min(math.Ceil(rate.due.Seconds()), maxRetryAfter))
	}
	return retryAfterSeconds(attempt)
}

// maxRetryAfter keeps a sender that has a long debt from giving up on us.
const maxRetryAfter = 60

// retryAfterSeconds is short, since a blocked shard waits for it, and spread,
// so that senders do not come back all at once.
func retryAfterSeconds(attempt int) int {
	return 1 + rand.IntN(2+min(max(attempt, 0), 3))
}
