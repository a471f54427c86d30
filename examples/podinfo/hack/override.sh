#!/usr/bin/env bash
# Copies one file of podinfo's module into overrides/, ready to be edited:
#   hack/override.sh pkg/api/http/version.go
set -euo pipefail
cd "$(dirname "$0")/.."

file=${1:?usage: hack/override.sh PATH-IN-THE-MODULE}
source=$(go mod download -json github.com/stefanprodan/podinfo | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p')
install -D -m 0644 "$source/$file" "overrides/$file"
echo "overrides/$file"
