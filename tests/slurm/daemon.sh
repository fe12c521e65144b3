#!/usr/bin/env bash
# What may happen to one daemon of a running cluster: SIGTERM, SIGKILL, and its return.
#
#   daemon.sh --state DIR stop|kill|start DAEMON      munged, mariadbd, slurmdbd, slurmctld or slurmd
#
# `start` returns once the daemon answers, `stop` and `kill` once it is gone. A daemon that runs is not started again.
set -euo pipefail
usage='usage: daemon.sh --state DIR stop|kill|start DAEMON'
[[ ${1:-} == --state && ${2:-} == /* && $# == 4 ]] || { echo "$usage" >&2 && exit 2; }
state=$2
# shellcheck source-path=SCRIPTDIR source=daemons.sh
source "${BASH_SOURCE[0]%/*}/daemons.sh"

# Where the cluster has a host name of its own, so has a daemon that comes later.
if [[ $3 == start && -z ${EMX2_TEST_OWN_HOST_NAME:-} ]] && munged=$(pid_of munged) &&
  ! [[ /proc/$munged/ns/uts -ef /proc/self/ns/uts ]]; then
  export EMX2_TEST_OWN_HOST_NAME=1
  exec nsenter --uts --target "$munged" "${BASH_SOURCE[0]}" "$@"
fi

case $3 in
  start) pid_of "$4" >/dev/null || start "$4" ;;
  stop) stop "$4" ;;
  kill) kill_now "$4" ;;
  *) echo "$usage" >&2 && exit 2 ;;
esac
