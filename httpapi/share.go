package httpapi

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/wattledger/wattledger/report"
	"github.com/wattledger/wattledger/store"
)

// Share says what is divided over all others, as the parameters share, share_by
// and share_weights do.
type Share struct {
	Costs   []string          `yaml:"costs"` // idle, system, unattributed, NAMESPACE, DIMENSION=VALUE
	By      string            `yaml:"by"`    // energy, even or weights
	Weights map[string]uint64 `yaml:"weights"`
}

var (
	sharedNames = []string{"idle", "system", "unattributed"}
	sharingKeys = []string{string(report.ShareByEnergy), string(report.ShareEvenly), string(report.ShareByWeights)}
)

func (s Share) check() error {
	if s.By != "" && !slices.Contains(sharingKeys, s.By) {
		return fmt.Errorf("share.by %q: allowed are %s", s.By, strings.Join(sharingKeys, ", "))
	}
	if s.By == string(report.ShareByWeights) && len(s.Weights) == 0 {
		return fmt.Errorf("share.by weights: needs share.weights")
	}
	return nil
}

// sharing reads what is to be shared; nil for nothing.
func (q *query) sharing(def Share, by []store.Dimension) *report.Sharing {
	costs, key, weights := def.Costs, def.By, def.Weights
	if s := q.text("share"); s != "" {
		costs = strings.Split(s, ",")
	}
	if s := q.text("share_by"); s != "" {
		key = q.choice("share_by", sharingKeys...)
	}
	if s := q.text("share_weights"); s != "" {
		weights = q.weights("share_weights", s)
	}
	if key == "" {
		key = string(report.ShareByEnergy)
	}
	if len(costs) == 0 || len(costs) == 1 && costs[0] == "none" {
		for _, name := range []string{"share_by", "share_weights"} {
			if q.text(name) != "" {
				q.fail(name, "says how; say by share what is shared")
			}
		}
		return nil
	}
	sh := &report.Sharing{Match: map[store.Dimension]string{}, By: report.SharingKey(key), Weights: weights}
	values := map[store.Dimension][]string{}
	for _, c := range costs {
		name, value, is := strings.Cut(c, "=")
		d := store.Dimension(name)
		switch {
		case slices.Contains(sharedNames, c):
			sh.Names = append(sh.Names, "__"+c+"__")
		case c == "" || is && value == "":
			q.fail("share", "has an empty part", append(slices.Clone(sharedNames), "NAMESPACE", "DIMENSION=VALUE", "none")...)
		case !is:
			values[store.Namespace] = append(values[store.Namespace], c)
		case slices.Contains(store.Dimensions, d):
			values[d] = append(values[d], value)
		case q.tag(name).Known():
			values[q.tag(name)] = append(values[q.tag(name)], value)
		default:
			q.fail("share", fmt.Sprintf("%q is not a dimension", clip(name)))
		}
	}
	for d, list := range values {
		sh.Match[d] = store.Any(list)
	}
	if sh.By == report.ShareByWeights {
		switch {
		case len(weights) == 0:
			q.fail("share_weights", "is needed with share_by=weights: NAME:NUMBER, joined by commas")
		case len(by) != 1:
			q.fail("share_by", "weights are of the groups of one dimension; say by aggregate which")
		}
	}
	return sh
}

// weights reads NAME:NUMBER joined by commas.
func (q *query) weights(name, s string) map[string]uint64 {
	list := map[string]uint64{}
	for part := range strings.SplitSeq(s, ",") {
		i := strings.LastIndexByte(part, ':')
		n, err := strconv.ParseUint(part[i+1:], 10, 32)
		if i < 1 || err != nil {
			q.fail(name, fmt.Sprintf("%q is not NAME:NUMBER with a whole number, such as checkout:2", clip(part)))
			return nil
		}
		list[part[:i]] = n
	}
	return list
}
