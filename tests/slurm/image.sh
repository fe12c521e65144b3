#!/usr/bin/env bash
# Builds the images that the tests run jobs in, without network: busybox, and nothing else.
#
#   image.sh APPTAINER BUSYBOX DIR      DIR/tool.sif runs its arguments in a shell; DIR/bare.sif has no runscript
set -euo pipefail
apptainer=$1 busybox=$2 dir=$3
root=$(mktemp -d)
trap 'rm -rf -- "$root"' EXIT
umask 022

mkdir -p "$dir" "$root"/{bin,etc,opt,tmp,.singularity.d}
cp "$busybox" "$root/bin/busybox"
for applet in $("$root/bin/busybox" --list); do ln -s busybox "$root/bin/$applet" 2>/dev/null || true; done # busybox itself is one
# Apptainer adds the user to them, and warns where they are missing.
: >"$root/etc/passwd"
: >"$root/etc/group"
chmod 755 "$root"

# build NAME: its words are shown where it fails.
build() {
  local said
  said=$("$apptainer" build --force "$dir/$1" "$root" 2>&1) || { echo "$said" >&2 && exit 1; }
}
build bare.sif
printf '#!/bin/sh\nexec sh "$@"\n' >"$root/.singularity.d/runscript"
chmod 755 "$root/.singularity.d/runscript"
build tool.sif
