#!/bin/sh
# The batch script: the same bytes for every job. It takes a lease, starts the workload, passes signals on, and leaves
# receipts. What is particular to a job lies in files beside it, so that nothing of a submitter stands in what a site keeps
# of scripts. POSIX sh: dash, bash 4.2 and later, busybox sh.
#
#   job.sh DIR ATTEMPT       DIR: the job directory; ATTEMPT: one decision to run the job, a1, a2, ...
#
# The run's id J is SLURM_JOB_ID, or EMX2_RUN_ID where a plain shell runs the job. R is SLURM_RESTART_COUNT, 0 unless Slurm
# requeued it. Read from DIR/.emx2/: prelude.sh, environment.sh, command.sh, again.sh, parameters.json, and output-base: the
# directory that holds the output directories, DIR where there is none. Written there, each whole or
# not at all, times in seconds since 1970; every receipt begins with v (1), attempt, job (J), restart (R) and node:
#
#   lease.ATTEMPT        symlink -> J               the run that has the attempt, for ever (`closed`: nobody may run it)
#   lease.ATTEMPT.R      symlink -> J.R.NODE.PID    the process that has run R of it
#   start.ATTEMPT.R      {.., pid, start}           the workload may have been started
#   stop.ATTEMPT.R       {.., start, signal, at}    a signal reached this script; SIGKILL may have followed
#   exit.ATTEMPT.R       {.., start, end, how, exit, signal, signal_at, oom_kill, unstarted, other_image}    the workload has
#                        ended; how: `exit`, or `wrapper-killed`, then exit is a guess; signal, oom_kill: null where there is
#                        none or not known; unstarted: whether that is since its image can not be started, as again.sh shows,
#                        or since the prelude ended the run; null: that can not be told; other_image: the node has another
#                        image than was looked at before the submission
#   lost.ATTEMPT.J.R     {.., holder, at}           this run found the lease taken, and did nothing
#   manifest.ATTEMPT.R   what the run has left in its output directory, in records that end with NUL: `SIZE MTIME PATH` of
#                        each regular file, `link PATH` of each symbolic link, then `SHA256 *./PATH` (or two spaces) of
#                        each regular file
#   done.ATTEMPT.R       {.., exit, manifest_sha256}    the manifest is whole, or null: there will be none; made of a run that
#                        ended well where seal is there: its limit in seconds, from the first listing to the manifest
#
# Exit code: the workload's; 255 also where there was none, since the prelude ended the run; 93 lease lost; 94 the job
# directory cannot be read or written.
umask 027
emx2_dir=$1 attempt=$2
emx2_job=${SLURM_JOB_ID:-${EMX2_RUN_ID:-}} restart=${SLURM_RESTART_COUNT:-0}
unset EMX2_RUN_ID
emx2_node=${SLURMD_NODENAME:-$(uname -n)}
for word in "$attempt" "$emx2_job" "$restart" "$emx2_node"; do # they become parts of file names and of JSON
  case $word in '' | *[!A-Za-z0-9._-]*) echo "job.sh: unusable attempt, job id, restart count or node: '$word'" >&2; exit 94 ;; esac
done
emx2_run=$attempt.$restart
cd "$emx2_dir/.emx2" || exit 94

emx2_base=$emx2_dir
[ ! -e output-base ] || emx2_base=$(cat output-base)
# Made by the daemon: where it is missing its file system is, and what a job left there would be on this node alone.
[ -d "$emx2_base" ] || { echo "job.sh: there is no $emx2_base on $emx2_node: is its file system mounted?" >&2; exit 94; }
emx2_output=output emx2_work=work emx2_scratch=scratch
[ "$emx2_run" = a1.0 ] || emx2_output=output.$emx2_run emx2_work=work.$emx2_run emx2_scratch=scratch.$emx2_run

now() { date +%s; }

# put FILE JSON: dd's fsync is in coreutils and busybox alike; `sync FILE` before coreutils 8.24 syncs every file system.
put() {
  part=.$1.$emx2_job.$$
  text="{\"v\":1,\"attempt\":\"$attempt\",\"job\":\"$emx2_job\",\"restart\":$restart,\"node\":\"$emx2_node\",$2}"
  printf '%s\n' "$text" | dd of="$part" conv=fsync 2>/dev/null || printf '%s\n' "$text" >"$part" || return 1
  mv -f "$part" "$1"
}

# take NAME VALUE: making a symlink is exclusive and carries its value at once, on local disks and on NFS. Where NFS repeats
# a request whose answer was lost, ln says "File exists" although it was we: then the value is ours.
take() {
  ln -s "$2" "$1" 2>/dev/null && return
  holder=$(readlink "$1")
  [ "$holder" = "$2" ] && return
  [ -n "$holder" ] || exit 94
  put "lost.$attempt.$emx2_job.$restart" "\"holder\":\"$holder\",\"at\":$(now)"
  exit 93
}
take "lease.$attempt" "$emx2_job"
take "lease.$emx2_run" "$emx2_job.$restart.$emx2_node.$$"

mkdir -p "$emx2_base/$emx2_output" "$emx2_dir/$emx2_work" "$emx2_dir/$emx2_scratch" || exit 94
cp -f parameters.json "$emx2_dir/$emx2_work/" || exit 94
emx2_there=$(cd -P "$emx2_base" && pwd -P) || exit 94
start=$(now)
put "start.$emx2_run" "\"pid\":$$,\"start\":$start" || exit 94

# The first signal is the cause, and is written down at once, for SIGKILL comes KillWait seconds after TERM. It is passed on
# to the process group, since with proctrack/cgroup Slurm sends TERM to this shell alone.
signal='' signal_at=0 emx2_status=.status.$emx2_run.$emx2_job.$$
on_signal() {
  deaf
  case $signal in '' | USR1) signal=$1 && note_signal ;; esac
  case $1 in INT | HUP) kill -s "$1" 0 ;; *) kill -s TERM 0 ;; esac
  listen
}
note_signal() {
  signal_at=$(now)
  put "stop.$emx2_run" "\"start\":$start,\"signal\":\"$signal\",\"at\":$signal_at"
}
# USR1 warns of the time limit. It hides no later signal, not even one that comes while it is written down.
on_usr1() {
  : "${signal:=USR1}"
  [ "$signal" != USR1 ] || note_signal
}
# The warning before the time limit (sbatch's --signal=B:USR2) ends nothing. It is for the workload's first process alone, as
# it would be for this one, since most of what a program starts dies of it.
on_warning() {
  [ -e "$emx2_status" ] || { read -r first <"$emx2_status.pid" && kill -s USR2 "$first"; } 2>/dev/null
}
deaf() { trap '' TERM INT HUP USR1 USR2 XCPU; }
listen() { for s in TERM INT HUP XCPU; do trap "on_signal $s" "$s"; done; trap on_usr1 USR1; trap on_warning USR2; }

# The highest count of processes killed for memory, from this step's control group up to the job's; null outside of one.
# Slurm calls a job OUT_OF_MEMORY even where its workload went on and exited 0.
oom_kills() {
  kills=null
  while IFS=: read -r _ controller group; do
    case $controller in
      '') base=/sys/fs/cgroup counter=memory.events ;;
      memory) base=/sys/fs/cgroup/memory counter=memory.oom_control ;;
      *) continue ;;
    esac
    while case $group in */job_*) true ;; *) false ;; esac; do
      [ -r "$base$group/$counter" ] && while read -r word count; do
        [ "$word" = oom_kill ] && { [ "$kills" = null ] || [ "$count" -gt "$kills" ]; } && kills=$count
      done <"$base$group/$counter"
      group=${group%/*}
    done
  done </proc/self/cgroup
  echo "$kills"
} 2>/dev/null

# A wrapper waits for the workload in the foreground and writes its status down: `wait` that traps interrupt loses it (bash
# 5.2 said -1, 146 and 0 for 7). Traps with a command, and not '', so that the workload starts with default actions.
workload() {
  told=''
  trap 'told=yes' TERM INT HUP USR1 USR2 XCPU
  (
    cd "$emx2_dir/$emx2_work" || exit 94
    echo "the profile's prelude ended the run" >"$emx2_dir/.emx2/$emx2_status.prelude" || exit 94
    . "$emx2_dir/.emx2/prelude.sh"
    set +efuxC # the prelude's own; with -x the job's values would be seen
    unalias -a
    echo "what the profile's prelude has left ended the run" >"$emx2_dir/.emx2/$emx2_status.prelude"
    cd "$emx2_dir/$emx2_work" || exit 94
    . "$emx2_dir/.emx2/environment.sh"
    : >"$emx2_dir/.emx2/$emx2_status.prelude"
    sh -c 'echo "$PPID"' >"$emx2_dir/.emx2/$emx2_status.pid"
    . "$emx2_dir/.emx2/command.sh"
  ) </dev/null
  code=$?
  deaf
  if [ -s "$emx2_status.prelude" ] && { [ -z "$told" ] || [ "$code" = 0 ]; }; then
    # A prelude's `exit 0` is no program's success.
    echo "job.sh: $(cat "$emx2_status.prelude") with exit code $code (on $emx2_node)" >&2
    [ -e again.sh ] && answer=true || answer=null
    code=255
  elif [ -s "$emx2_status.prelude" ]; then
    answer=null # ended by a signal before its program began
  else
    answer=''
    # `apptainer run` says this of an image without a runscript, and exits 0; so may a program.
    if [ "$code" = 0 ] && tail -c 4096 container-stdout.log | tail -n 2 |
      grep -q '^There is no runscript defined for this container'; then
      code=255
      answer=$(unstarted)
      if [ "$answer" = false ]; then code=0; else
        echo 'job.sh: the image has no runscript: name its program in the profile (container_entrypoint)' >>container-stderr.log
      fi
    fi 2>/dev/null
    [ -n "$answer" ] || answer=$(unstarted)
  fi
  echo "$code $answer" >"$emx2_status.part" && mv -f "$emx2_status.part" "$emx2_status"
}

# Did Apptainer fail, or a program that exits or speaks like it? Neither is believed: the image is started once more, with
# nothing of the job's. Where it has no /bin/sh, that shows nothing.
unstarted() {
  case $code in
    255) ;;
    1) tail -c 65536 container-stderr.log | grep -qE '(FATAL:   |ERROR  : |Error for command ")' || { echo false; return; } ;;
    *) echo false; return ;;
  esac
  # After a signal SIGKILL is near, and the exit code is not written down yet.
  [ -e again.sh ] && [ -z "$told" ] || { echo null; return; }
  (. "$emx2_dir/.emx2/again.sh") </dev/null >again.log 2>&1
  case $? in
    0) echo false ;;
    125) echo null ;;
    *) grep -q '[ "]/bin/sh[":]' again.log && echo null || echo true ;;
  esac
} 2>/dev/null

listen
rm -f "other-image.$emx2_run"
workload &
wrapper=$! code=255 how=exit unstarted=null
while [ ! -e "$emx2_status" ] && kill -0 "$wrapper" 2>/dev/null; do
  wait "$wrapper"
  code=$?
done
end=$(now)
[ -e "$emx2_status" ] && read -r code unstarted <"$emx2_status" || how=wrapper-killed
# TERM may end the workload before it reaches this shell (seen once in twelve): give it time to arrive.
[ -n "$signal" ] || [ "$code" = 0 ] || sleep 1
deaf
rm -f "$emx2_status" "$emx2_status.part" "$emx2_status.pid" "$emx2_status.prelude"
[ -n "$signal" ] && named="\"$signal\"" || named=null
[ -e "other-image.$emx2_run" ] && other=true || other=false
put "exit.$emx2_run" "\"start\":$start,\"end\":$end,\"how\":\"$how\",\"exit\":$code,\"signal\":$named,\"signal_at\":$signal_at,\"oom_kill\":$(oom_kills),\"unstarted\":$unstarted,\"other_image\":$other" ||
  exit 94
# The seal: what is there is listed, hashed and listed again, so that whoever reads it later, over a network file system,
# knows what has to be there. It takes GNU's find and sort; where they are not, or time is out, or somebody still writes,
# there is none. sha256sum is four times slower than openssl with large files, whose names it alone can tell in full.
seal() (
  trap - TERM
  read -r limit <seal || exit 1
  until=$(($(now) + limit))
  export LC_ALL=C
  part=$PWD/.manifest.$emx2_run.$emx2_job.$$
  trap 'rm -f "$part"*' EXIT
  # The job may have put a link in its place, or in that of a directory above it: to a whole file system.
  cd -P "$emx2_there/$emx2_output" && [ "$(pwd -P)" = "$emx2_there/$emx2_output" ] || exit 1
  # timeout(1) takes 0 for no limit at all; where the clock was set back, the limit is still the longest.
  timed() {
    left=$((until - $(now)))
    [ "$left" -le "$limit" ] || left=$limit
    [ "$left" -gt 0 ] && timeout -k 5 "$left" "$@"
  }
  list() {
    timed find . -type f -printf '%s %T@ %P\0' -o -type l -printf 'link %P\0' >"$part" && timed sort -z "$part" >"$1"
  }
  odd=$(printf '\n.') odd=${odd%.}
  list "$part.before" || exit 1
  large='' unclear=''
  ! command -v openssl >/dev/null || large=$(timed find . -type f -size +65536k -print -quit) || exit 1
  [ -z "$large" ] || unclear=$(timed find . \( -name "*$odd*" -o -name '*\\*' \) -print -quit) || exit 1
  if [ -n "$large" ] && [ -z "$unclear" ]; then
    timed find . -type f -exec openssl dgst -sha256 -r {} + >"$part" && timed tr '\n' '\0' <"$part" >"$part.hashed"
  else
    timed find . -type f -exec sha256sum -z -- {} + >"$part.hashed"
  fi || exit 1
  list "$part.after" && timed cmp -s "$part.before" "$part.after" || exit 1
  cat "$part.before" "$part.hashed" | timed dd of="$part" bs=65536 conv=fsync || exit 1
  sum=$(timed sha256sum <"$part") && mv -f "$part" "${part%/*}/manifest.$emx2_run" && echo "${sum%% *}"
) 2>/dev/null

if [ "$code" = 0 ] && [ -z "$signal" ] && [ -e seal ]; then
  sum=$(seal) || sum=
  put "done.$emx2_run" "\"exit\":$code,\"manifest_sha256\":${sum:+\"}${sum:-null}${sum:+\"}"
fi
exit "$code"
