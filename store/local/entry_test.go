package local

import "testing"

func FuzzEntry(f *testing.F) {
	f.Add([]byte{2, 1, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		var e Entry
		for e.Kind = RowsWritten; e.Kind <= HolderDescribed; e.Kind++ {
			_ = e.decode(b) // an error, never a panic
		}
	})
}
