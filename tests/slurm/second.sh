#!/usr/bin/env bash
# Runs a command in a second Debian, of a later release, with its own Slurm and Apptainer: as root, in namespaces of mounts
# and processes that end with the command, and with this script, however that ends.
#
#   second.sh ROOT SHARED COMMAND...
#
# ROOT is put together once, from the archive that this machine's apt is configured for, and kept; that takes some minutes. Of
# this machine the command sees SHARED, a directory, at the same path, its control groups, and its network. One at a time.
set -euo pipefail
export DEBIAN_FRONTEND=noninteractive
release=trixie
# Slurm, what runs containers, and what the tests' scripts install where it is missing.
packages=ca-certificates,munge,slurm-wlm,slurmdbd,mariadb-server,patchelf,squashfuse,squashfs-tools,fuse3,uidmap
keyring=/usr/share/keyrings/debian-archive-keyring.gpg

die() {
  printf 'second.sh: %s\n' "$*" >&2
  exit 1
}

# quietly COMMAND...: its words are shown where it fails.
quietly() {
  local said
  said=$("$@" 2>&1) || die "$* failed: $(tail -n 5 <<<"$said")"
}

# put_together: below $root, whole or not at all. Apptainer is in no release yet: it comes from sid, and nothing else does.
put_together() {
  local new=$root.new mirror
  mirror=$(sed '/^#/d' /etc/apt/sources.list.d/*.sources /etc/apt/sources.list 2>/dev/null | grep -om 1 'http[^ ]*') || true
  [[ $mirror && -e $keyring ]] || die 'needs Debian, whose archive a second one is put together from'
  if ! command -v debootstrap >/dev/null; then
    apt-get install -y -q --no-install-recommends debootstrap >/dev/null 2>&1 || {
      quietly apt-get update -q
      quietly apt-get install -y -q --no-install-recommends debootstrap
    }
  fi
  printf 'second.sh: putting %s together, which takes some minutes\n' "$root" >&2
  rm -rf --one-file-system -- "$new"
  quietly debootstrap --variant=minbase --include="$packages" --keyring="$keyring" "$release" "$new" "$mirror"
  printf '#!/bin/sh\nexit 101\n' >"$new/usr/sbin/policy-rc.d" # no service is ever started there
  chmod 755 "$new/usr/sbin/policy-rc.d"
  printf "deb [signed-by=$keyring] $mirror %s main\n" sid bookworm >"$new/etc/apt/sources.list.d/others.list"
  printf 'Package: *\nPin: release n=%s\nPin-Priority: 1\n\n' sid bookworm >"$new/etc/apt/preferences.d/others"
  cp -L /etc/resolv.conf /etc/hosts "$new/etc/"
  # An archive that is a snapshot has lists past their date.
  quietly chroot "$new" apt-get -q -o Acquire::Check-Valid-Until=false -o APT::Sandbox::User=root update
  quietly chroot "$new" apt-get -y -q -o APT::Sandbox::User=root --no-install-recommends install apptainer
  # Root of this machine may lack a capability that a container's would ask for.
  quietly chroot "$new" apptainer config global --set 'root default capabilities' no
  # With the client library of MariaDB 11.8.9 slurmdbd ends at its first query ("max allowed number of columns (=0)").
  quietly chroot "$new" sh -c 'cd /tmp && apt-get -q -o APT::Sandbox::User=root download libmariadb3/bookworm'
  quietly chroot "$new" sh -c 'dpkg-deb -x /tmp/libmariadb3_*.deb /tmp/older && cp /tmp/older/usr/lib/*/libmariadb.so.3 /usr/local/lib/ && ldconfig'
  mv -T -- "$new" "$root"
}

# What the namespaces' first process does; it reaps whatever loses its parent, and nothing outlives it.
inside() {
  local root=$1 shared=$2 device name major minor
  shift 2
  # The kernel gives no user namespace to what a plain chroot holds, and Apptainer wants / to be a mount point.
  mount --bind "$root" "$root"
  mount -t proc proc "$root/proc"
  mount -t sysfs -o ro sysfs "$root/sys"
  [[ ! -d /sys/fs/cgroup/memory ]] || mount --rbind /sys/fs/cgroup "$root/sys/fs/cgroup"
  mount -t tmpfs -o mode=755,nosuid dev "$root/dev"
  for device in 'null 1 3' 'zero 1 5' 'full 1 7' 'random 1 8' 'urandom 1 9' 'tty 5 0' 'fuse 10 229'; do
    read -r name major minor <<<"$device"
    mknod -m 666 "$root/dev/$name" c "$major" "$minor"
  done
  ln -s /proc/self/fd "$root/dev/fd"
  ln -s fd/0 "$root/dev/stdin"
  ln -s fd/1 "$root/dev/stdout"
  ln -s fd/2 "$root/dev/stderr"
  mkdir -m 755 "$root/dev/pts"
  mkdir -m 1777 "$root/dev/shm"
  mount -t devpts -o newinstance,ptmxmode=666,mode=620 devpts "$root/dev/pts"
  ln -s pts/ptmx "$root/dev/ptmx"
  mount -t tmpfs -o mode=1777,nosuid,nodev shm "$root/dev/shm"
  mount -t tmpfs -o mode=755,nosuid,nodev run "$root/run"
  mkdir -p "$root$shared"
  mount --rbind "$shared" "$root$shared"
  cp -L /etc/resolv.conf /etc/hosts "$root/etc/"
  cd "$root"
  pivot_root . . # the old root lies over the new one then,
  umount -l .    # and is taken away
  cd "$shared"
  env -i PATH="$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" \
    HOME=/root LANG=C.UTF-8 TERM=dumb CI="${CI:-}" "$@" 9>&-
}

[[ ${1:-} == /* && ${2:-} == /* && $# -ge 3 ]] || die 'usage: second.sh ROOT SHARED COMMAND...'
root=$1
case ${EMX2_TEST_SECOND_STEP:-} in
  build) put_together; exit ;;
  inside) inside "$@"; exit ;;
esac

((EUID == 0)) || die 'needs root'
# Also what debootstrap mounts and starts would otherwise outlive it where it is killed.
namespaces=(setpriv --pdeathsig KILL unshare --mount --pid --fork --kill-child --propagation private)
said=$("${namespaces[@]}" true 2>&1) || die "needs namespaces of mounts and processes, which this machine refuses: $said"
mkdir -p "${root%/*}"
exec 9>"$root.lock"
flock --nonblock 9 || die "another run uses $root: start this one when that has ended"
[[ -d $root ]] || EMX2_TEST_SECOND_STEP=build "${namespaces[@]}" --mount-proc "${BASH_SOURCE[0]}" "$@"
# What a run that was killed has left there.
rm -rf --one-file-system -- "$root/tmp"
mkdir -m 1777 "$root/tmp"
EMX2_TEST_SECOND_STEP=inside exec "${namespaces[@]}" "${BASH_SOURCE[0]}" "$@"
