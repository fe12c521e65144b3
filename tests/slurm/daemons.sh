# Sourced, with `state` set: how each daemon of the cluster is started, found and ended. A daemon is known by its pid file,
# and only while the process of that number still is that daemon.
# shellcheck shell=bash disable=SC2034,SC2154 # what is set and used here belongs to whoever sources it

etc=$state/etc run=$state/run log=$state/log
export SLURM_CONF=$etc/slurm.conf
# Marks our daemons in /proc/PID/environ, so that nobody takes them for a site's own.
export EMX2_TEST_CLUSTER=$state
export PATH=$PATH:/usr/sbin:/sbin
ready_seconds=60 # how long each daemon may take to answer
stop_seconds=30  # for a daemon after SIGTERM

die() {
  printf '%s: %s\n' "${0##*/}" "$*" >&2
  exit 1
}

# start DAEMON: returns once it answers.
start() {
  case $1 in
    munged)
      # munge refuses a socket below a directory that others may write to, as /tmp is, unless forced.
      launch munged munged --force --key-file="$state/munge/key" --seed-file="$state/munge/seed" \
        --socket="$run/munge.socket" --pid-file="$run/munged.pid" --log-file="$log/munged.log"
      wait_for munged munge --no-input --socket="$run/munge.socket"
      ;;
    mariadbd)
      # A Unix socket only, and no flushing: this data may go with the machine.
      setsid mariadbd --no-defaults --datadir="$state/db" --user=root --socket="$run/mariadb.socket" \
        --pid-file="$run/mariadbd.pid" --skip-networking --skip-log-bin --innodb-buffer-pool-size=64M \
        --innodb-flush-log-at-trx-commit=0 --innodb-lock-wait-timeout=900 --character-set-server=utf8mb4 \
        </dev/null >>"$log/mariadbd.log" 2>&1 &
      wait_for mariadbd mariadb-admin --no-defaults --user=root --socket="$run/mariadb.socket" ping
      ;;
    slurmdbd)
      # The database's socket has no key in slurmdbd.conf; the client library reads this variable.
      MYSQL_UNIX_PORT=$run/mariadb.socket launch slurmdbd slurmdbd
      wait_for slurmdbd sacctmgr -n show cluster
      ;;
    slurmctld)
      launch slurmctld slurmctld -f "$SLURM_CONF"
      wait_for slurmctld scontrol ping
      ;;
    slurmd)
      launch slurmd slurmd -f "$SLURM_CONF" -N "$(hostname -s)"
      wait_for slurmd pid_of slurmd
      ;;
    *) die "no such daemon: $1" ;;
  esac
}

# stop DAEMON: SIGTERM, and SIGKILL where that does not help.
stop() {
  local pid deadline=$((SECONDS + stop_seconds))
  pid=$(pid_of "$1") || return 0
  kill "$pid" 2>/dev/null || return 0
  while pid_of "$1" >/dev/null; do
    if ((SECONDS >= deadline)); then
      printf '%s: %s (%s) ignored SIGTERM for %s s\n' "${0##*/}" "$1" "$pid" "$stop_seconds" >&2
      kill_now "$1"
      break
    fi
    sleep 0.1
  done
}

# kill_now DAEMON: SIGKILL; returns once it is gone.
kill_now() {
  local pid deadline=$((SECONDS + stop_seconds))
  pid=$(pid_of "$1") || return 0
  kill -KILL "$pid" 2>/dev/null || true
  while pid_of "$1" >/dev/null; do
    ((SECONDS < deadline)) || die "$1 ($pid) outlives SIGKILL"
    sleep 0.05
  done
}

# pid_of DAEMON: its pid, if the process of that number is this daemon and no zombie that nobody has reaped yet.
pid_of() {
  local pid
  pid=$(cat "$run/$1.pid" 2>/dev/null) && [[ $pid ]] || return 1
  awk -v name="$1" '/^Name:/ { n = $2 } /^State:/ { s = $2 } END { exit !(n == name && s !~ /[ZX]/) }' \
    "/proc/$pid/status" 2>/dev/null && echo "$pid"
}

# launch NAME COMMAND...: runs what puts itself into the background, its words going to NAME's log.
launch() {
  local name=$1
  shift
  "$@" </dev/null >>"$log/$name.log" 2>&1 || fail "$name" "did not start"
}

# wait_for NAME COMMAND...: polls until COMMAND succeeds.
wait_for() {
  local name=$1 deadline=$((SECONDS + ready_seconds)) said
  shift
  until said=$("$@" 2>&1); do
    ((SECONDS < deadline)) || fail "$name" "does not answer after $ready_seconds s: $said"
    sleep 0.1
  done
}

# fail NAME WHAT: ends with the daemon's last words.
fail() {
  tail -n 20 "$log/$1.log" >&2 || true
  die "$1 $2"
}
