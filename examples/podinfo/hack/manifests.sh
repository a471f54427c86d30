#!/usr/bin/env bash
# Assembles what is installed: podinfo's own kustomization, out of the module
# as base/, and the overlay of this example beside it.
set -euo pipefail

source=$(go list -m -f '{{.Dir}}' github.com/stefanprodan/podinfo)
mkdir -p "$OUT/kustomize/base"
install -m 0644 "$source"/kustomize/*.yaml "$OUT/kustomize/base/"
if [ -d overrides/kustomize ]; then
	cp -r overrides/kustomize/. "$OUT/kustomize/base/"
fi
install -m 0644 deploy/*.yaml "$OUT/kustomize/"
