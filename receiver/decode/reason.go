package decode

// A Reason says why a sample, histogram, exemplar or series was not taken.
type Reason uint8

const (
	accepted Reason = iota
	noName
	emptyLabelName
	duplicateLabel
	badUTF8
	FutureTimestamp
	symbolRef
	badHistogram
	Conflict
	limitLabels
	limitLabelName
	limitLabelValue
	limitLabelSet
	LimitSeries
	otherCluster
	NumReasons
)

// reasons holds the value of the metric label "reason", and the text and the
// fix that a sender reads.
var reasons = [NumReasons]struct{ label, text, fix string }{
	noName:          {"no_name", "series without __name__", "send every series with a metric name"},
	emptyLabelName:  {"empty_label_name", "empty label name", "look for a relabelling rule with an empty target_label"},
	duplicateLabel:  {"dup_label", "duplicate label", "look for external_labels or a relabelling rule that repeats a label of the series"},
	badUTF8:         {"bad_utf8", "invalid UTF-8 in a label", "labels must be valid UTF-8; find the exporter of this series"},
	FutureTimestamp: {"future", "out-of-range future timestamp", "set the clocks of the sender and the receiver by NTP"},
	symbolRef:       {"symbol_ref", "invalid symbol reference", "the sender's remote write 2.0 encoder is at fault; use 1.0 until it is mended"},
	badHistogram:    {"histogram", "invalid native histogram", "find the exporter of this series"},
	Conflict:        {"conflict", "another value at a time already booked", "two senders disagree: give each its own external label, or unset strict"},
	limitLabels:     {"limit_labels_per_series", "limit max_labels_per_series", "drop labels or raise max_labels_per_series"},
	limitLabelName:  {"limit_label_name", "limit max_label_name_bytes", "shorten the label name or raise max_label_name_bytes"},
	limitLabelValue: {"limit_label_value", "limit max_label_value_bytes", "shorten the label value or raise max_label_value_bytes"},
	limitLabelSet:   {"limit_label_set", "limit max_label_set_bytes", "drop labels or raise max_label_set_bytes"},
	otherCluster:    {"cluster", "the token may not write the cluster", "set the external label cluster of the sender, or give its token the cluster"},
	LimitSeries:     {"limit_series", "limit max_series", "send fewer series or raise max_series"},
}

// Label is the value of the metric label "reason".
func (why Reason) Label() string { return reasons[why].label }

// Text says what is wrong.
func (why Reason) Text() string { return reasons[why].text }

// Fix says what a sender should do.
func (why Reason) Fix() string { return reasons[why].fix }
