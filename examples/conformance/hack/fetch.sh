#!/usr/bin/env bash
# Downloads what build.sh is linked from. `go mod download` is not enough: the
# suite is a test of another module, and what only such tests import is not
# listed in go.mod.
set -euo pipefail

go list -deps -test -tags providerless \
	k8s.io/kubernetes/test/e2e k8s.io/kubernetes/test/images/agnhost >/dev/null
