#!/usr/bin/env bash
# Links the two test binaries into $OUT. They learn the commit that podinfo was
# built from, so that the suite can tell whether it is this podinfo that answers.
set -euo pipefail

version=$(sed -n 's|.*github.com/stefanprodan/podinfo \(v[^ ]*\).*|\1|p' go.mod)
cd e2e
for package in api cluster; do
	go test -vet=off -c -trimpath \
		-ldflags "-s -w -X seatrial.invalid/examples/podinfo/e2e/internal/podinfo.Revision=${version##*-}" \
		-o "$OUT/$package.test" "./$package"
done
