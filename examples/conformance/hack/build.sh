#!/usr/bin/env bash
# Links Kubernetes' end-to-end suite (e2e.test) and agnhost, the image that most
# of its tests run, out of the Go module that go.mod names, into $OUT.
set -euo pipefail

version=$(go list -m -f '{{.Version}}' k8s.io/kubernetes)
# Without these the suite believes that it is of version v0.0.0 and skips tests.
stamp="-X k8s.io/component-base/version.gitVersion=$version -X k8s.io/client-go/pkg/version.gitVersion=$version"
common=(-trimpath -tags providerless -ldflags "-s -w $stamp")

case ${1:?usage: hack/build.sh e2e|agnhost} in
e2e)
	go test -vet=off -c "${common[@]}" -o "$OUT/e2e.test" k8s.io/kubernetes/test/e2e
	;;
agnhost)
	images=$(go list -m -f '{{.Dir}}' k8s.io/kubernetes)/test/images
	go build "${common[@]}" -o "$OUT/agnhost" k8s.io/kubernetes/test/images/agnhost
	install -m 0644 "$images"/agnhost/porter/localhost.{crt,key} "$OUT/"
	;;
esac
