// Package conformance holds no code: it names Kubernetes' own end-to-end suite,
// so that go.mod and go.sum cover what its test binary is linked from.
package conformance

import _ "k8s.io/kubernetes/test/e2e"
