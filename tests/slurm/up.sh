#!/usr/bin/env bash
# Boots a throw-away one-node Slurm as root, without systemd: munge, slurmctld, slurmd and, for sacct, MariaDB and
# slurmdbd. Everything it writes lies below the state directory, but for the ordinary user who submits.
#
#   up.sh --state DIR [--accounting slurmdbd|none] [--min-job-age SECONDS] [--cgroup none|v1]
#
# --cgroup v1: Slurm tracks processes by control groups, and the kernel holds jobs to their --mem. Needs a machine whose
# version 1 controllers are mounted.
#
# The clients then need SLURM_CONF=DIR/etc/slurm.conf. down.sh stops it; both know their daemons by DIR/run/*.pid.
set -euo pipefail

state='' accounting=slurmdbd min_job_age=300 cgroup=none
user=emx2

usage() {
  printf 'up.sh: %s\n' "$*" >&2
  exit 2
}

arguments=("$@")
while (($#)); do
  (($# >= 2)) || usage "$1 needs a value"
  case $1 in
    --state) state=$2 ;;
    --accounting) accounting=$2 ;;
    --min-job-age) min_job_age=$2 ;;
    --cgroup) cgroup=$2 ;;
    *) usage "unknown option $1" ;;
  esac
  shift 2
done
[[ $accounting == slurmdbd || $accounting == none ]] || usage '--accounting takes slurmdbd or none'
[[ $min_job_age =~ ^[0-9]+$ ]] || usage '--min-job-age takes seconds'
[[ $cgroup == none || $cgroup == v1 ]] || usage '--cgroup takes none or v1'
[[ $state == /* ]] || usage '--state takes an absolute path'
# shellcheck source-path=SCRIPTDIR source=daemons.sh
source "${BASH_SOURCE[0]%/*}/daemons.sh"
# The sockets lie in there, and a Unix socket's path ends at 107 bytes.
((${#state} <= 80)) || die "$state is too long for Unix sockets"
((EUID == 0)) || die 'needs root: slurmd starts jobs for other users'

# Slurm's daemons listen on the address that this host's name leads to, and know no option for another one. Where that
# is not loopback, a host name of their own (a UTS namespace) keeps the ports in; where that is refused too, say so.
host=$(hostname -s)
address=$(getent ahostsv4 "$host" | awk 'NR == 1 { print $1 }') || address=''
if [[ $address != 127.* && -z ${EMX2_TEST_OWN_HOST_NAME:-} ]] && unshare --uts true 2>/dev/null; then
  export EMX2_TEST_OWN_HOST_NAME=1
  exec unshare --uts bash -c 'hostname localhost && exec "$0" "$@"' "${BASH_SOURCE[0]}" "${arguments[@]}"
fi
[[ $address ]] || die "the host name $host has no address: add it to /etc/hosts"
[[ $address == 127.* ]] || printf 'up.sh: %s is %s: the cluster listens there, not on loopback\n' "$host" "$address" >&2

# free_ports COUNT: the first of so many unused neighbours, below the range that the kernel hands out by itself.
free_ports() {
  local count=$1 attempt first offset
  for ((attempt = 0; attempt < 100; attempt++)); do
    first=$((20000 + RANDOM % 12000))
    for ((offset = 0; offset < count; offset++)); do
      ! (exec 3<>"/dev/tcp/$address/$((first + offset))") 2>/dev/null || continue 2
    done
    echo "$first"
    return
  done
  die "no $count free ports on $address"
}

mkdir -p "$etc" "$run" "$log"
chmod 755 "$state" "$etc" "$run"
mkdir -p -m 700 "$state/munge" "$state/ctld" "$state/spool"

if ! getent passwd "$user" >/dev/null; then
  useradd --create-home --shell /bin/bash "$user"
  touch "$state/made-user.$user"
fi

port=$(free_ports 3)
controller_port=$port node_port=$((port + 1)) database_port=$((port + 2))

accounting_lines="AccountingStorageType=accounting_storage/none"
if [[ $accounting == slurmdbd ]]; then
  accounting_lines="AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=$address
AccountingStoragePort=$database_port
AccountingStoragePass=$run/munge.socket"
fi

version=$(slurmd -V | awk '{ print $2 }')
if [[ $cgroup == v1 ]]; then
  tracker_lines="ProctrackType=proctrack/cgroup
TaskPlugin=task/cgroup"
  cat >"$etc/cgroup.conf" <<END
CgroupPlugin=cgroup/v1
CgroupMountpoint=/sys/fs/cgroup
ConstrainRAMSpace=yes
END
else
  tracker_lines="ProctrackType=proctrack/linuxproc
TaskPlugin=task/none"
  # From 23.02 on slurmd looks for a cgroup plugin unless told not to; 22.05 does not know the word.
  : >"$etc/cgroup.conf"
  ((${version%%.*} < 23)) || echo 'CgroupPlugin=disabled' >"$etc/cgroup.conf"
fi

# CommunicationParameters: bind the address of the host name, not every interface.
# config_overrides: believe CPUs and RealMemory below, not the hardware. KillWait: SIGKILL follows SIGTERM soon.
cat >"$SLURM_CONF" <<END
ClusterName=emx2test
SlurmctldHost=$host($address)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$run/munge.socket
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
SlurmctldPort=$controller_port
SlurmctldPidFile=$run/slurmctld.pid
SlurmctldLogFile=$log/slurmctld.log
StateSaveLocation=$state/ctld
SlurmdPort=$node_port
SlurmdPidFile=$run/slurmd.pid
SlurmdLogFile=$log/slurmd.log
SlurmdSpoolDir=$state/spool
SlurmdParameters=config_overrides
ReturnToService=2
$tracker_lines
JobAcctGatherType=jobacct_gather/linux
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
DefMemPerCPU=64
MailProg=/bin/true
MpiDefault=none
KillWait=3
MinJobAge=$min_job_age
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=2,batch_sched_delay=0,bf_interval=2
$accounting_lines
NodeName=$host NodeAddr=$address CPUs=64 RealMemory=65536 State=UNKNOWN
PartitionName=cpu Nodes=$host Default=YES MaxTime=7-00:00:00 DefaultTime=01:00:00 State=UP
END

(umask 077 && head -c 128 /dev/urandom >"$state/munge/key")
start munged

if [[ $accounting == slurmdbd ]]; then
  launch mariadbd mariadb-install-db --no-defaults --datadir="$state/db" --user=root \
    --auth-root-authentication-method=socket --auth-root-socket-user=root --skip-test-db
  start mariadbd

  (umask 077 && cat >"$etc/slurmdbd.conf") <<END
AuthType=auth/munge
AuthInfo=socket=$run/munge.socket
CommunicationParameters=NoInAddrAny
DbdHost=$host
DbdAddr=$address
DbdPort=$database_port
SlurmUser=root
PidFile=$run/slurmdbd.pid
LogFile=$log/slurmdbd.log
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser=root
StorageLoc=slurm_acct
END
  start slurmdbd
  # slurmctld ends where accounting does not know its cluster.
  launch slurmdbd sacctmgr -i -Q add cluster emx2test
fi

node_is_idle() { [[ $(sinfo -h -o %t) == idle ]]; }
start slurmctld
start slurmd
wait_for slurmd node_is_idle

echo "Slurm $version, accounting $accounting, cgroup $cgroup, ready after $SECONDS s: SLURM_CONF=$SLURM_CONF"
