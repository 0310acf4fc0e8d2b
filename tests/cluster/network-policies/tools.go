//go:build tools

// Package networkpolicies pins the agent that keeps NetworkPolicies in the test cluster, whose own network lets everybody through.
package networkpolicies

import _ "sigs.k8s.io/kube-network-policies/cmd"
