# What a program finds where it runs, in lines `key=value`; what can not be told here is left out. A trial reads it in a shell
# of the node and in one of the image, where hardly any program is sure to be.
#
#   look.sh WORK OUTPUT TMP     the directories as the job knows them
echo looked=yes
has() { command -v "$1" >/dev/null; }
say() { [ -z "$2" ] || printf '%s=%s\n' "$1" "$2"; }
# A broken driver can make these hang.
limited() { if has timeout; then timeout 30 "$@"; else "$@"; fi; }

# The lowest limit from this process's control group up; version 1 spells "none" as the largest number of whole pages.
memory_limit() {
  least=9000000000000000000
  while IFS=: read -r _ controller group; do
    case $controller in
      '') base=/sys/fs/cgroup file=memory.max ;;
      memory) base=/sys/fs/cgroup/memory file=memory.limit_in_bytes ;;
      *) continue ;;
    esac
    while :; do
      limit=max
      [ ! -r "$base$group/$file" ] || read -r limit <"$base$group/$file"
      case $limit in '' | *[!0-9]*) ;; *) [ "$limit" -gt "$least" ] || least=$limit ;; esac
      case $group in ?*/* | /?*) group=${group%/*} ;; *) break ;; esac
    done
  done </proc/self/cgroup
  [ "$least" = 9000000000000000000 ] || echo "$least"
}

gpus() {
  if has nvidia-smi; then
    limited nvidia-smi -L | while read -r line; do case $line in GPU*) say gpu "${line%% (UUID*}" ;; esac; done
  else
    for device in /dev/nvidia[0-9]* /dev/dri/renderD*; do [ ! -e "$device" ] || say gpu "$device"; done
  fi
}

has id && say user "$(id -un) (uid $(id -u), gid $(id -g))"
say arch "$(uname -m)"
say cpus "$(nproc || grep -c '^processor' /proc/cpuinfo)"
say memory_bytes "$(memory_limit)"
gpus
for place in "work=$1" "output=$2" "tmp=$3"; do
  df -Pk "${place#*=}" | { read -r _ && read -r _ _ _ free _ && say "free_kib.${place%%=*}" "$free"; }
  say "type.${place%%=*}" "$(stat -f -c %T "${place#*=}")"
done
