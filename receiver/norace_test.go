//go:build !race

package receiver

const slower = 1
