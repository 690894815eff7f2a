//go:build race

package receiver

// slower is how much processor time the race detector takes of loops that do
// little else than read.
const slower = 8
