// Package configs holds the configuration the product ships with.
package configs

import _ "embed"

// Workloads is configs/workloads.yaml, the built-in classification rules.
//
//go:embed workloads.yaml
var Workloads []byte

// Metrics is configs/metrics.yaml, the built-in metric table.
//
//go:embed metrics.yaml
var Metrics []byte
