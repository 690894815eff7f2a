// Package suggest finds what a mistyped name was meant to be.
package suggest

import (
	"slices"
	"strings"
)

// Nearest returns the member of known closest to name in edits, the first in
// order among equals, or "" when none is close enough to be what was meant.
func Nearest(name string, known []string) string {
	best, bestEdits := "", min(len(name), 24)/3+2
	for _, k := range slices.Sorted(slices.Values(known)) {
		if e := edits(strings.ToLower(name), k); e < bestEdits {
			best, bestEdits = k, e
		}
	}
	return best
}

// edits is the optimal string alignment distance between a and b: letters
// missing, too many, wrong, or swapped with the next. Of a long name only the
// beginning is compared, so that its cost stays bounded.
func edits(a, b string) int {
	const most = 64
	a, b = a[:min(len(a), most)], b[:min(len(b), most)]
	var rows [most + 1][most + 1]int
	for i := range len(a) + 1 {
		rows[i][0] = i
	}
	for j := range len(b) + 1 {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			rows[i][j] = min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(a)][len(b)]
}
