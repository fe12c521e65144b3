#!/usr/bin/env bash
# Stops what up.sh started below a state directory, and removes the directory.
#
#   down.sh --state DIR
#
# Jobs first, since they outlive slurmd by design; then each daemon by its pid file, and only while that process still is
# that daemon. May be called at any time, and again.
set -euo pipefail

[[ ${1:-} == --state && ${2:-} == /* ]] || { echo 'usage: down.sh --state DIR' >&2 && exit 2; }
state=$2
[[ -d $state ]] || exit 0
export SLURM_CONF=$state/etc/slurm.conf
jobs_seconds=20 # for jobs to end: KillWait and the epilog's time
stop_seconds=30 # for a daemon after SIGTERM

# pid_of DAEMON: its pid, if the process of that number is this daemon and no zombie that nobody has reaped yet.
pid_of() {
  local pid
  pid=$(cat "$state/run/$1.pid" 2>/dev/null) && [[ $pid ]] || return 1
  awk -v name="$1" '/^Name:/ { n = $2 } /^State:/ { s = $2 } END { exit !(n == name && s !~ /[ZX]/) }' \
    "/proc/$pid/status" 2>/dev/null && echo "$pid"
}

end_jobs() {
  local deadline=$((SECONDS + jobs_seconds)) ids
  while ids=$(timeout 10 squeue -h -o %A 2>/dev/null) && [[ $ids ]] && ((SECONDS < deadline)); do
    # shellcheck disable=SC2086 # one id a word
    timeout 10 scancel --quiet $ids || true
    sleep 0.3
  done
}

stop() {
  local pid deadline=$((SECONDS + stop_seconds))
  pid=$(pid_of "$1") || return 0
  kill "$pid" 2>/dev/null || return 0
  while pid_of "$1" >/dev/null; do
    if ((SECONDS >= deadline)); then
      printf 'down.sh: %s (%s) ignored SIGTERM for %s s\n' "$1" "$pid" "$stop_seconds" >&2
      kill -KILL "$pid" 2>/dev/null || true
      break
    fi
    sleep 0.1
  done
}

! pid_of slurmctld >/dev/null || end_jobs
for daemon in slurmd slurmctld slurmdbd mariadbd munged; do stop "$daemon"; done

for mark in "$state"/made-user.*; do
  # Its mail spool is missing where no mail system made one: userdel says so and is content.
  [[ ! -e $mark ]] || userdel --remove "${mark##*.}" 2>/dev/null || printf 'down.sh: user %s is left\n' "${mark##*.}" >&2
done
rm -rf -- "$state"
