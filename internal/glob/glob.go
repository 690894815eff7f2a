// Package glob matches texts against patterns in which * stands for any
// characters, slashes included.
package glob

import "strings"

// A Pattern is what was written, cut at the stars.
type Pattern []string

// Compile returns the pattern that a text writes. Every text is one.
func Compile(text string) Pattern { return strings.Split(text, "*") }

// Match reports whether p matches the whole of s.
func (p Pattern) Match(s string) bool {
	if len(p) == 1 {
		return s == p[0]
	}
	first, last := p[0], p[len(p)-1]
	if len(s) < len(first)+len(last) || !strings.HasPrefix(s, first) || !strings.HasSuffix(s, last) {
		return false
	}
	s = s[len(first) : len(s)-len(last)]
	for _, part := range p[1 : len(p)-1] {
		i := strings.Index(s, part)
		if i < 0 {
			return false
		}
		s = s[i+len(part):]
	}
	return true
}
