package httpapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wattledger/wattledger/internal/suggest"
	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/transform/classify"
)

// A classifyInput is what a user tells of a workload. Everything may be missing.
type classifyInput struct {
	classify.Subject
	powerWatts      []float64 // a series of mean power, one value each intervalSeconds
	intervalSeconds float64
}

// classifyFields are the fields of a body, in the order they are documented.
var classifyFields = []string{"namespace", "workload", "owner_kind", "labels", "annotations", "image", "command", "resources", "power_watts", "interval_seconds"}

const maxClassifyWatts = 100_000

// POST /profile/classify
func (a *api) profileClassify(w http.ResponseWriter, r *http.Request) error {
	if err := a.parse(r).problem(); err != nil {
		return err
	}
	media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || media != "application/json" {
		return newProblem(http.StatusUnsupportedMediaType, "unsupported-media-type", "Unsupported media type",
			"send the body with Content-Type: application/json")
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, a.cfg.MaxClassifyBodyBytes))
	if err != nil {
		if tooLarge := new(http.MaxBytesError); errors.As(err, &tooLarge) {
			return err
		}
		return invalid(ParamError{Parameter: "body", Reason: "ended before it was whole"})
	}
	in, errs := parseClassify(body)
	if len(errs) > 0 {
		return invalid(errs...)
	}

	res := a.classifier.ClassifyWithPower(in.Subject, in.powerWatts, time.Duration(in.intervalSeconds*float64(time.Second)))
	alternatives := res.Alternatives
	if alternatives == nil {
		alternatives = []classify.Alternative{}
	}
	return writeJSON(w, r, struct {
		Classification any      `json:"classification"`
		Confidence     *float64 `json:"confidence"`
		Timestamp      stamp    `json:"timestamp"`
	}{
		Classification: struct {
			WorkloadType power.Type             `json:"workload_type"`
			Stage        string                 `json:"stage"`
			Rule         string                 `json:"rule"`
			Reason       string                 `json:"reason"`
			Alternatives []classify.Alternative `json:"alternatives"`
		}{typeOf(res.Type), res.Stage, res.Rule, res.Reason, alternatives},
		Confidence: number(res.Confidence),
		Timestamp:  stampOf(a.cfg.Now()),
	})
}

// parseClassify reads a body field by field, so that each field that is wrong
// or not known can be named.
func parseClassify(body []byte) (classifyInput, []ParamError) {
	var in classifyInput
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(body, &fields); err != nil {
		return in, []ParamError{{Parameter: "body", Reason: "is not a JSON object"}}
	}
	if len(fields) == 0 {
		return in, []ParamError{{Parameter: "body", Reason: "says nothing; give at least one field", Allowed: classifyFields}}
	}
	var errs []ParamError
	fail := func(field, reason string, allowed ...string) {
		if len(errs) < 10 {
			errs = append(errs, ParamError{Parameter: field, Reason: reason, Allowed: allowed})
		}
	}
	read := func(field string, into any, what string) {
		if raw, ok := fields[field]; ok && (bytes.Equal(raw, []byte("null")) || json.Unmarshal(raw, into) != nil) {
			fail(field, "is not "+what)
		}
	}
	for _, field := range slices.Sorted(maps.Keys(fields)) {
		if !slices.Contains(classifyFields, field) {
			reason := "is not a field of this body"
			if n := suggest.Nearest(field, classifyFields); n != "" {
				reason += fmt.Sprintf("; did you mean %q?", n)
			}
			fail(clip(field), reason, classifyFields...)
		}
	}
	read("namespace", &in.Namespace, "a string")
	read("workload", &in.Workload, "a string")
	var ownerKind, image string
	read("owner_kind", &ownerKind, "a string")
	read("labels", &in.Labels, "an object of strings")
	read("annotations", &in.Annotations, "an object of strings")
	read("image", &image, "a string")
	read("command", &in.Command, "an array of strings")
	read("power_watts", &in.powerWatts, "an array of numbers")
	read("interval_seconds", &in.intervalSeconds, "a number")
	if ownerKind != "" {
		in.OwnerKinds = []string{ownerKind}
	}
	if image != "" {
		in.Images = []string{image}
	}
	if raw, ok := fields["resources"]; ok {
		resources, valid := parseResources(raw)
		if !valid {
			fail("resources", `is not an object of quantities: {"nvidia.com/gpu":1,"cpu":"500m"}, or that under "requests" and "limits"`)
		}
		in.Resources = resources
	}
	if len(in.powerWatts) > maxClassifyWatts {
		fail("power_watts", fmt.Sprintf("holds more than %d values", maxClassifyWatts))
	}
	if slices.ContainsFunc(in.powerWatts, func(w float64) bool { return w < 0 || math.IsInf(w, 0) }) {
		fail("power_watts", "holds a negative value")
	}
	switch _, said := fields["interval_seconds"]; {
	case in.intervalSeconds < 0 || said && in.intervalSeconds == 0:
		fail("interval_seconds", "must be more than 0")
	case len(in.powerWatts) > 0 && !said:
		fail("interval_seconds", "is needed with power_watts: the seconds between two values")
	}
	return in, errs
}

// parseResources reads quantities, given by themselves or as Kubernetes has
// them, under requests and limits. Where both speak, the request counts.
func parseResources(raw json.RawMessage) (map[string]float64, bool) {
	var flat map[string]json.RawMessage
	if json.Unmarshal(raw, &flat) != nil || flat == nil {
		return nil, false
	}
	out := map[string]float64{}
	for _, part := range []string{"limits", "requests"} {
		nested, ok := flat[part]
		if !ok {
			continue
		}
		var quantities map[string]json.RawMessage
		if json.Unmarshal(nested, &quantities) != nil || !addQuantities(out, quantities) {
			return nil, false
		}
		delete(flat, part)
	}
	return out, addQuantities(out, flat)
}

func addQuantities(out map[string]float64, quantities map[string]json.RawMessage) bool {
	for name, raw := range quantities {
		text := string(raw)
		if raw[0] == '"' && json.Unmarshal(raw, &text) != nil {
			return false
		}
		n, ok := parseQuantity(text)
		if !ok {
			return false
		}
		out[name] = n
	}
	return true
}

var quantitySuffixes = map[string]float64{
	"": 1, "n": 1e-9, "u": 1e-6, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18,
	"Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30, "Ti": 1 << 40, "Pi": 1 << 50, "Ei": 1 << 60,
}

// parseQuantity reads a quantity as Kubernetes writes it: 2, 500m, 1.5, 4Gi, 1e3.
func parseQuantity(s string) (float64, bool) {
	digits := strings.TrimRight(s, "numkMGTPEi")
	if strings.ContainsAny(digits, "xX_pPIaN") { // what only Go takes for a number
		return 0, false
	}
	unit, ok := quantitySuffixes[s[len(digits):]]
	n, err := strconv.ParseFloat(digits, 64)
	if err != nil || !ok || n < 0 {
		return 0, false
	}
	return n * unit, true
}
