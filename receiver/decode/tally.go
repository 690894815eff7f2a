package decode

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// A Tally counts what became of the contents of one request.
type Tally struct {
	Samples    int // in the request
	Histograms int
	Exemplars  int

	SamplesWritten    int // of these, taken or filtered
	HistogramsWritten int
	ExemplarsWritten  int

	UsableSeries    int // series the metric table maps, once for each time they occur
	FilteredSeries  int // series the metric table does not map
	FilteredSamples int // of those series, and not rejected
	MixedSeries     int // series that hold samples and histograms
	SymbolZero      int // requests whose first symbol is not empty
	NewestMs        int64

	Rejected        [NumReasons]int // samples, histograms and exemplars, or 1 for a series without any
	rejectedSeries  int             // without any sample, histogram or exemplar
	duplicateName   string          // the first duplicate label's
	otherCluster    string          // the first that the token may not write
	example         string          // the first rejected series
	exampleReason   Reason
	ExampleMs       int64
	ExampleHasTime  bool
	ExampleOfSeries [NumReasons]string // the first rejected series of each reason
}

// Any reports whether something of the request was rejected.
func (t *Tally) Any() bool {
	for _, n := range t.Rejected {
		if n > 0 {
			return true
		}
	}
	return false
}

// Reject counts n items of a series as rejected. describe is called for the
// first of each reason only.
func (t *Tally) Reject(why Reason, n int, describe func() string) {
	t.Rejected[why] += n
	if t.ExampleOfSeries[why] == "" {
		t.ExampleOfSeries[why] = describe()
	}
	if t.example == "" {
		t.example, t.exampleReason = t.ExampleOfSeries[why], why
	}
}

// MaxAnswerBytes is what Prometheus reads of an answer.
const MaxAnswerBytes = 1024

// Text says what was rejected: counts first, then the reasons, one example and
// the fix, since some senders keep no more than the first 256 bytes.
func (t *Tally) Text(now time.Time) string {
	rejected := 0
	for _, n := range t.Rejected {
		rejected += n
	}
	rejected -= t.rejectedSeries
	total := t.Samples + t.Histograms + t.rejectedExemplars()
	var b strings.Builder
	fmt.Fprintf(&b, "%d of %d samples rejected, %d stored", rejected, total, total-rejected-t.FilteredSamples)
	if t.FilteredSamples > 0 {
		fmt.Fprintf(&b, ", %d of no use here", t.FilteredSamples)
	}
	if t.rejectedSeries > 0 {
		fmt.Fprintf(&b, ", %d series without samples rejected", t.rejectedSeries)
	}
	separator := ": "
	for why, n := range t.Rejected {
		if n == 0 {
			continue
		}
		b.WriteString(separator)
		separator = "; "
		b.WriteString(reasons[why].text)
		if Reason(why) == duplicateLabel {
			fmt.Fprintf(&b, " %q", Clip(t.duplicateName, 64))
		}
		if Reason(why) == otherCluster {
			fmt.Fprintf(&b, " %q", Clip(t.otherCluster, 64))
		}
		fmt.Fprintf(&b, " (%d)", n)
	}
	fmt.Fprintf(&b, "; e.g. %s", t.example)
	if t.ExampleHasTime {
		fmt.Fprintf(&b, " t=%s server=%s", instant(t.ExampleMs), instant(now.UnixMilli()))
	}
	fmt.Fprintf(&b, "; %s; see /debug/senders", t.fix())
	return Clip(b.String(), MaxAnswerBytes-1)
}

// fix says what to do about the first series that was rejected.
func (t *Tally) fix() string {
	if t.exampleReason == FutureTimestamp && !t.AllAhead() {
		return FixOwnTimes
	}
	return t.exampleReason.Fix()
}

// FixOwnTimes says what to do about a few samples of the future among others of now.
const FixOwnTimes = "the exporter of this series writes times of its own: mend it, or scrape it with honor_timestamps: false"

// AllAhead reports whether every sample lies too far ahead, which a sender's clock
// explains; a few among others their exporter's.
func (t *Tally) AllAhead() bool { return t.Samples > 0 && t.Rejected[FutureTimestamp] == t.Samples }

func (t *Tally) rejectedExemplars() int { return t.Exemplars - t.ExemplarsWritten }

// instant prints a time that may lie outside what RFC 3339 can hold.
func instant(ms int64) string {
	when := time.UnixMilli(ms).UTC()
	if year := when.Year(); year < 0 || year > 9999 {
		return fmt.Sprintf("%dms", ms)
	}
	return when.Format("2006-01-02T15:04:05.000Z07:00")
}

// Clip shortens s to at most n bytes and makes it valid UTF-8.
func Clip(s string, n int) string {
	if len(s) > n {
		s = s[:n-3]
		for len(s) > 0 && !utf8.RuneStart(s[len(s)-1]) {
			s = s[:len(s)-1]
		}
		if len(s) > 0 && s[len(s)-1] >= utf8.RuneSelf {
			s = s[:len(s)-1]
		}
		s += "..."
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}
