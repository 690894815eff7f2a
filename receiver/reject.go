package receiver

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// A reason says why a sample, histogram, exemplar or series was not taken.
type reason uint8

const (
	accepted reason = iota
	noName
	emptyLabelName
	duplicateLabel
	badUTF8
	futureTimestamp
	symbolRef
	badHistogram
	conflict
	limitLabels
	limitLabelName
	limitLabelValue
	limitLabelSet
	limitSeries
	otherCluster
	numReasons
)

// reasons holds the value of the metric label "reason", and the text and the
// fix that a sender reads.
var reasons = [numReasons]struct{ label, text, fix string }{
	noName:          {"no_name", "series without __name__", "send every series with a metric name"},
	emptyLabelName:  {"empty_label_name", "empty label name", "look for a relabelling rule with an empty target_label"},
	duplicateLabel:  {"dup_label", "duplicate label", "look for external_labels or a relabelling rule that repeats a label of the series"},
	badUTF8:         {"bad_utf8", "invalid UTF-8 in a label", "labels must be valid UTF-8; find the exporter of this series"},
	futureTimestamp: {"future", "out-of-range future timestamp", "set the clocks of the sender and the receiver by NTP"},
	symbolRef:       {"symbol_ref", "invalid symbol reference", "the sender's remote write 2.0 encoder is at fault; use 1.0 until it is mended"},
	badHistogram:    {"histogram", "invalid native histogram", "find the exporter of this series"},
	conflict:        {"conflict", "another value at a time already booked", "two senders disagree: give each its own external label, or unset strict"},
	limitLabels:     {"limit_labels_per_series", "limit max_labels_per_series", "drop labels or raise max_labels_per_series"},
	limitLabelName:  {"limit_label_name", "limit max_label_name_bytes", "shorten the label name or raise max_label_name_bytes"},
	limitLabelValue: {"limit_label_value", "limit max_label_value_bytes", "shorten the label value or raise max_label_value_bytes"},
	limitLabelSet:   {"limit_label_set", "limit max_label_set_bytes", "drop labels or raise max_label_set_bytes"},
	otherCluster:    {"cluster", "the token may not write the cluster", "set the external label cluster of the sender, or give its token the cluster"},
	limitSeries:     {"limit_series", "limit max_series", "send fewer series or raise max_series"},
}

// A tally counts what became of the contents of one request.
type tally struct {
	samples    int // in the request
	histograms int
	exemplars  int

	samplesWritten    int // of these, taken or filtered
	histogramsWritten int
	exemplarsWritten  int

	usableSeries    int // series the metric table maps, once for each time they occur
	filteredSeries  int // series the metric table does not map
	filteredSamples int // of those series, and not rejected
	mixedSeries     int // series that hold samples and histograms
	symbolZero      int // requests whose first symbol is not empty
	newestMs        int64

	rejected        [numReasons]int // samples, histograms and exemplars, or 1 for a series without any
	rejectedSeries  int             // without any sample, histogram or exemplar
	duplicateName   string          // the first duplicate label's
	otherCluster    string          // the first that the token may not write
	example         string          // the first rejected series
	exampleReason   reason
	exampleMs       int64
	exampleHasTime  bool
	exampleOfSeries [numReasons]string // the first rejected series of each reason
}

func (t *tally) reset() { *t = tally{} }

// any reports whether something of the request was rejected.
func (t *tally) any() bool {
	for _, n := range t.rejected {
		if n > 0 {
			return true
		}
	}
	return false
}

// reject counts n items of a series as rejected. describe is called for the
// first of each reason only.
func (t *tally) reject(why reason, n int, describe func() string) {
	t.rejected[why] += n
	if t.exampleOfSeries[why] == "" {
		t.exampleOfSeries[why] = describe()
	}
	if t.example == "" {
		t.example, t.exampleReason = t.exampleOfSeries[why], why
	}
}

// maxAnswerBytes is what Prometheus reads of an answer.
const maxAnswerBytes = 1024

// text says what was rejected: counts first, then the reasons, one example and
// the fix, since some senders keep no more than the first 256 bytes.
func (t *tally) text(now time.Time) string {
	rejected := 0
	for _, n := range t.rejected {
		rejected += n
	}
	rejected -= t.rejectedSeries
	total := t.samples + t.histograms + t.rejectedExemplars()
	var b strings.Builder
	fmt.Fprintf(&b, "%d of %d samples rejected, %d stored", rejected, total, total-rejected)
	if t.rejectedSeries > 0 {
		fmt.Fprintf(&b, ", %d series without samples rejected", t.rejectedSeries)
	}
	separator := ": "
	for why, n := range t.rejected {
		if n == 0 {
			continue
		}
		b.WriteString(separator)
		separator = "; "
		b.WriteString(reasons[why].text)
		if reason(why) == duplicateLabel {
			fmt.Fprintf(&b, " %q", clip(t.duplicateName, 64))
		}
		if reason(why) == otherCluster {
			fmt.Fprintf(&b, " %q", clip(t.otherCluster, 64))
		}
		fmt.Fprintf(&b, " (%d)", n)
	}
	fmt.Fprintf(&b, "; e.g. %s", t.example)
	if t.exampleHasTime {
		fmt.Fprintf(&b, " t=%s server=%s", instant(t.exampleMs), instant(now.UnixMilli()))
	}
	fmt.Fprintf(&b, "; %s; see /debug/senders", reasons[t.exampleReason].fix)
	return clip(b.String(), maxAnswerBytes-1)
}

func (t *tally) rejectedExemplars() int { return t.exemplars - t.exemplarsWritten }

// instant prints a time that may lie outside what RFC 3339 can hold.
func instant(ms int64) string {
	when := time.UnixMilli(ms).UTC()
	if year := when.Year(); year < 0 || year > 9999 {
		return fmt.Sprintf("%dms", ms)
	}
	return when.Format("2006-01-02T15:04:05.000Z07:00")
}

// clip shortens s to at most n bytes and makes it valid UTF-8.
func clip(s string, n int) string {
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

// Errors of a request, from which its status code is chosen.
var (
	errMethod      = errors.New("remote write takes POST")
	errMediaType   = errors.New("unsupported content type")
	errEncoding    = errors.New("unsupported content encoding")
	errWrongSchema = errors.New("body does not fit its content type")
	errTooLarge    = errors.New("body too large")
	errCompression = errors.New("undecodable body")
	errMalformed   = errors.New("malformed protobuf")
	errLimit       = errors.New("over a limit")
	errRejected    = errors.New("partly rejected")

	errBodyRead   = errors.New("read body")
	errStarting   = errors.New("not ready: still starting")
	errStopping   = errors.New("shutting down")
	errOverloaded = errors.New("overloaded")
	errJournal    = errors.New("journal takes nothing at the moment")
)
