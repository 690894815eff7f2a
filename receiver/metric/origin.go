package metric

import (
	"strings"

	"github.com/wattledger/wattledger/power"
)

// ownLabels are those that Kepler writes itself, of either generation.
var ownLabels = set("__name__ zone path node_name container_id container_name container_namespace runtime state pod_id pod_name " +
	"pod_namespace vm_id vm_name hypervisor gpu gpu_uuid gpu_name vendor mode package index source command pid name exported_instance")

// targetLabels are those that a scrape puts on all series of its target.
var targetLabels = set("job instance pod namespace container service endpoint node exported_job exported_pod exported_namespace exported_container")

func set(words string) map[string]bool {
	s := map[string]bool{}
	for w := range strings.FieldsSeq(words) {
		s[w] = true
	}
	return s
}

// origin tells from the labels of a Kepler series which exporter it is of, and
// which labels were put on by whoever sent it. Labels are sorted, so both are
// the same for all series of one target.
func (t *Table) origin(generation string, labels []power.Label) (exporter, path string) {
	var room [256]byte
	federated := labelValue(labels, "exported_job") != ""
	target, rest := append(room[:0], generation...), make([]byte, 0, 64)
	for _, l := range labels {
		switch {
		case federated && l.Name == "exported_instance":
			target = appendLabel(target, l)
		case ownLabels[l.Name] || l.Name == t.config.ClusterLabel || t.isReplica(l.Name):
		case targetLabels[l.Name]:
			target = appendLabel(target, l)
		default:
			rest = appendLabel(rest, l)
		}
	}
	return string(target), string(rest)
}

func appendLabel(dst []byte, l power.Label) []byte {
	dst = append(dst, ' ')
	dst = append(dst, l.Name...)
	dst = append(dst, '=')
	return append(dst, l.Value...)
}

func (t *Table) isReplica(name string) bool {
	for _, r := range t.config.ReplicaLabels {
		if r == name {
			return true
		}
	}
	return false
}
