# Of a trial, before its workload: what the node is like, what the image shows of it, how long the image takes to start, and
# how soon what is written here is seen on the head node and the other way round. Read in a shell by `environment.sh`, after
# which `emx2_inside` runs a shell in the image. Left in .emx2/, each whole or not at all, times in seconds since 1970 by this
# node's clock:
#
#   trial.asked    when it was written; the head node answers with an empty trial.answer
#   trial.heard    when that answer was seen; absent: not within a minute
#   trial.prelude  what the prelude has written, to its first 4 KiB
#   trial.node     began=, ready=: before and after a first start of the image; started=: how that ended; then look.sh's lines
#   trial.image    look.sh's lines from within the image
cd "$emx2_dir/.emx2" || exit
whole() { cat >".$1.part" && mv -f ".$1.part" "$1"; }
clock() { date +%s.%N; }

# Nothing else has written to them yet.
cat "slurm-$emx2_job.out" "slurm-$emx2_job.err" | head -c 4096 | whole trial.prelude
clock | whole trial.asked
looks=0
# Listing the directory is what makes a network file system forget that the answer was not there.
while [ ! -e trial.answer ] && [ "$looks" -lt 600 ]; do
  looks=$((looks + 1))
  sleep 0.1
  ls >/dev/null
done
[ ! -e trial.answer ] || clock | whole trial.heard

yes_or_no() { if "$@" >/dev/null; then echo yes; else echo no; fi; }
node() {
  echo "name=$emx2_node"
  echo "slurm_memory_mb=$SLURM_MEM_PER_NODE"
  echo "slurm_gpus=${SLURM_JOB_GPUS:-$SLURM_GPUS_ON_NODE}"
  if [ -n "$emx2_image" ]; then
    echo "starter=$emx2_version"
    echo "image=$(stat -Lc '%s %Y' "$emx2_image")"
    echo "image_readable=$(yes_or_no test -r "$emx2_image")"
    command -v unshare >/dev/null && echo "user_namespaces=$(yes_or_no unshare --user true)"
    echo "fuse=$(yes_or_no test -r /dev/fuse -a -w /dev/fuse)"
    echo "began=$(clock)"
    emx2_inside -c :
    echo "started=$?"
    echo "ready=$(clock)"
  fi
  sh look.sh "$emx2_dir/$emx2_work" "$emx2_base/$emx2_output" "${TMPDIR:-/tmp}"
}
node </dev/null | whole trial.node
[ -z "$emx2_image" ] || emx2_inside -c "$(cat look.sh)" look.sh /work /output /tmp </dev/null | whole trial.image
