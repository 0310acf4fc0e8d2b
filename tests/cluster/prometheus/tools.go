//go:build tools

// Package prometheus pins the Prometheus that scrapes trials in the test cluster.
//
// Debian's package knows no Pods: it is built without discovery through the Kubernetes API. Built with
// -tags remove_all_sd,enable_kubernetes_sd this one has that, files and HTTP.
package prometheus

import (
	_ "github.com/prometheus/prometheus/cmd/prometheus"
	_ "github.com/prometheus/prometheus/cmd/promtool"
)
