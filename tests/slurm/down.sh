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
# shellcheck source-path=SCRIPTDIR source=daemons.sh
source "${BASH_SOURCE[0]%/*}/daemons.sh"
jobs_seconds=20 # for jobs to end: KillWait and the epilog's time

end_jobs() {
  local deadline=$((SECONDS + jobs_seconds)) ids
  while ids=$(timeout 10 squeue -h -o %A 2>/dev/null) && [[ $ids ]] && ((SECONDS < deadline)); do
    # shellcheck disable=SC2086 # one id a word
    timeout 10 scancel --quiet $ids || true
    sleep 0.3
  done
}

! pid_of slurmctld >/dev/null || end_jobs
for daemon in slurmd slurmctld slurmdbd mariadbd munged; do stop "$daemon"; done

for mark in "$state"/made-user.*; do
  # Its mail spool is missing where no mail system made one: userdel says so and is content.
  [[ ! -e $mark ]] || userdel --remove "${mark##*.}" 2>/dev/null || printf 'down.sh: user %s is left\n' "${mark##*.}" >&2
done
rm -rf -- "$state"
