#!/usr/bin/env bash
# Prints the path of an Apptainer: this machine's own, or one that is kept below DIR, where it is put together once, on
# Debian, of packages that apt fetches and checks. What it calls (squashfuse and its kin) is installed.
#
#   apptainer.sh DIR
#
# DIR-busybox is what images are made of; it is not installed, since with it the tests of job.sh would get one more shell.
# Debian has no Apptainer for every release: the one of sid runs here with the C library of trixie, which lies beside it and is
# used by nothing else. Where it starts itself in a container, which has this machine's, it fails: with --unsquash, and where it
# builds from an image.
set -euo pipefail
export DEBIAN_FRONTEND=noninteractive
packages=(patchelf squashfuse squashfs-tools fuse3 uidmap)
programs=(patchelf squashfuse mksquashfs fusermount3 newuidmap)
keyring=/usr/share/keyrings/debian-archive-keyring.gpg

die() {
  printf 'apptainer.sh: %s\n' "$*" >&2
  exit 1
}

[[ ${1:-} == /* ]] || die 'usage: apptainer.sh DIR'
dir=$1

# quietly COMMAND...: its words are shown where it fails.
quietly() {
  local said
  said=$("$@" 2>&1) || die "$* failed: $(tail -n 5 <<<"$said")"
}

# The lists of a fresh container are empty, and old ones name versions that are gone.
install_programs() {
  [[ $(command -v "${programs[@]}" | wc -l) != "${#programs[@]}" ]] || return 0
  ! apt-get install -y -q --no-install-recommends "${packages[@]}" >/dev/null 2>&1 || return 0
  quietly apt-get update -q
  quietly apt-get install -y -q --no-install-recommends "${packages[@]}"
}

# fetch INTO: the two packages, by lists of their own, so that nothing of this machine is ever upgraded to those releases.
fetch() {
  local own=$1/apt mirror apt
  mirror=$(sed '/^#/d' /etc/apt/sources.list.d/*.sources /etc/apt/sources.list 2>/dev/null | grep -om 1 'http[^ ]*') || true
  [[ $mirror && -e $keyring ]] || die 'needs Apptainer on PATH, or the archive of Debian to fetch it from'
  mkdir -p "$own/lists/partial" "$own/cache/archives/partial" "$own/none"
  printf "deb [signed-by=$keyring] $mirror %s main\n" trixie sid >"$own/sources.list"
  apt=(apt-get -q -o "Dir::Etc::SourceList=$own/sources.list" -o "Dir::Etc::SourceParts=$own/none"
    -o "Dir::Etc::PreferencesParts=$own/none" -o "Dir::State::Lists=$own/lists" -o "Dir::Cache=$own/cache"
    -o Acquire::Languages=none -o Acquire::Check-Valid-Until=false -o APT::Sandbox::User=root)
  quietly "${apt[@]}" update
  cd "$1"
  quietly "${apt[@]}" download libc6/trixie apptainer/sid
  cd /
}

# put_together FROM: below $dir, whole or not at all.
put_together() {
  local new=$dir.new loader program libraries
  rm -rf -- "$new"
  mkdir -p "$new/lib"
  dpkg-deb -x "$1"/apptainer_*.deb "$new"
  dpkg-deb -x "$1"/libc6_*.deb "$1/libc6"
  cp -L "$1"/libc6/usr/lib/*-linux-gnu/{ld-linux*.so.*,libc.so.6,libm.so.6} "$new/lib/"
  loader=$(cd "$new/lib" && echo ld-linux*)
  # Every other library is this machine's.
  libraries=$(ldconfig -p | awk '$1 == "libc.so.6" { sub("/[^/]*$", "", $NF); print $NF; exit }')
  for program in "$new"/usr/bin/apptainer "$new"/usr/lib/*-linux-gnu/apptainer/bin/starter; do
    patchelf --set-interpreter "$dir/lib/$loader" --set-rpath "$dir/lib:$libraries" "$program"
  done
  # Both programs look for etc and var beside the bin that they take for theirs: usr/bin, and usr/lib/bin of the starter's.
  mv "$new/etc" "$new/var" "$new/usr/"
  ln -s ../etc ../var ../lib "$new/usr/lib/"
  rm -rf -- "$dir"
  mv "$new" "$dir"
}

# fetch_busybox INTO: of this machine's own release.
fetch_busybox() {
  cd "$1"
  apt-get download -q -o APT::Sandbox::User=root busybox-static >/dev/null 2>&1 || {
    quietly apt-get update -q
    quietly apt-get download -q -o APT::Sandbox::User=root busybox-static
  }
  cd /
  dpkg-deb -x "$1"/busybox-static_*.deb "$1/busybox"
  cp "$(find "$1/busybox" -type f -name busybox -perm -100 | head -n 1)" "$dir-busybox"
}

own=$(command -v apptainer) || own=$dir/usr/bin/apptainer
install_programs
work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT
mkdir -p "${dir%/*}"
[[ -x $dir-busybox ]] || fetch_busybox "$work"
if [[ ! -x $own ]]; then
  fetch "$work"
  put_together "$work"
fi
# Root of this machine may lack a capability that a container's would ask for (CAP_SYS_RESOURCE in some containers).
[[ $own != "$dir"/* ]] || quietly "$own" config global --set 'root default capabilities' no
# Ordinary users mount images by it; udev gives it this mode, where there is an udev.
[[ ! -c /dev/fuse ]] || chmod 666 /dev/fuse
quietly "$own" --version
echo "$own"
