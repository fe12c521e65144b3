#!/usr/bin/env bash
# A cluster for as long as stdin stays open: boots it, prints one line, and takes everything away again when whoever
# holds the other end closes it, or dies.
#
#   cluster.sh DIR [options of up.sh]
set -euo pipefail
here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
state=$1
shift
trap '"$here/down.sh" --state "$state"' EXIT
"$here/up.sh" --state "$state" "$@" </dev/null
cat >/dev/null
