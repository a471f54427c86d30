#!/usr/bin/env bash
# Builds podinfo and podcli out of the Go module that go.mod names, with the
# files under overrides/ put over the module's own, and takes the page that
# podinfo serves to browsers. Writes podinfo, podcli and ui/ into $OUT.
set -euo pipefail

module=github.com/stefanprodan/podinfo
source=$(go list -m -f '{{.Dir}}' "$module")
# The pseudo-version ends with the commit: what upstream's Dockerfile calls REVISION.
version=$(go list -m -f '{{.Version}}' "$module")
revision=${version##*-}
modfile=go.mod

if [ -n "$(find overrides -type f ! -name README.md -print -quit)" ]; then
	# Files of the module cache cannot be replaced in place (go's -overlay refuses
	# them), so the module is copied and a copy of go.mod points at it.
	work=$(mktemp -d)
	cp -r "$source" "$work/podinfo"
	chmod -R u+w "$work/podinfo"
	cp -r overrides/. "$work/podinfo/"
	# The project's files are read-only, and so are copies of them at first.
	install -m 0644 go.mod go.sum "$work/"
	go mod edit -replace "$module=$work/podinfo" "$work/go.mod"
	source=$work/podinfo
	modfile=$work/go.mod
fi

go build -modfile="$modfile" -trimpath \
	-ldflags "-s -w -X $module/pkg/version.REVISION=$revision" \
	-o "$OUT/" "$module/cmd/podinfo" "$module/cmd/podcli"
install -D -m 0644 "$source/ui/vue.html" "$OUT/ui/vue.html"
