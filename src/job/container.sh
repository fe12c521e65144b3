# Finds the program that starts a job's image, and what its version can do. Read in the shell by `environment.sh`, after the
# operator's prelude, since what counts is what is on the node, and a module may bring it. The same bytes for every job.
#
# Takes emx2_apptainer: as the operator names it, and emx2_image. Gives
#   emx2_apptainer   the program; under its other name where only that is on PATH
#   emx2_prefix      of the variables that it reads: APPTAINER, or SINGULARITY where that is no other name of Apptainer
#   emx2_no_eval     --no-eval; empty before Apptainer 1.1 and SingularityCE 3.10: there a shell in the container evaluates the
#                    values of variables, but for what is escaped
# or ends the run with 255, as Apptainer does where it can not start the container.
unset IFS # emx2_no_eval is one word or none
emx2_refuse() {
  # Not by tee: a prelude may have lost PATH.
  echo "job.sh: $* (on $emx2_node)" >>"${emx2_said:-$emx2_dir/.emx2/container-stderr.log}"
  echo "job.sh: $* (on $emx2_node)" >&2
  : >"$emx2_dir/.emx2/$emx2_status.prelude" # it is known what has ended the run
  exit 255
}

case $emx2_apptainer in
  apptainer) emx2_other=singularity ;;
  singularity) emx2_other=apptainer ;;
  *) emx2_other=$emx2_apptainer ;;
esac
if ! command -v "$emx2_apptainer" >/dev/null; then
  command -v "$emx2_other" >/dev/null ||
    emx2_refuse "$emx2_apptainer is not found: install it, correct apptainer.command, or load it in the profile's prelude"
  emx2_apptainer=$emx2_other
fi
# `apptainer version 1.4.5`, `singularity-ce version 3.11.4-bookworm`, `singularity version 3.8.7-1.el8`
emx2_version=$("$emx2_apptainer" --version </dev/null) || emx2_refuse "$emx2_apptainer --version fails"
emx2_number=${emx2_version##* version }
emx2_minor=${emx2_number#*.} emx2_minor=${emx2_minor%%[!0-9]*}
emx2_prefix=SINGULARITY emx2_no_eval=--no-eval
case $emx2_version in
  apptainer*' version 1.0'*) emx2_no_eval='' ;;
  singularity*' version 3.'*) # hpcng's 3.8 is the last one before Apptainer 1.0; SingularityCE goes on with 3.9
    [ "${emx2_minor:-0}" -ge 9 ] ||
      emx2_refuse "$emx2_version has no --mount: Apptainer 1.0 or SingularityCE 3.9 is needed, better 1.1 or 3.10"
    [ "$emx2_minor" -ge 10 ] || emx2_no_eval=''
    ;;
esac
case $emx2_version in
  apptainer*) emx2_prefix=APPTAINER ;;
  singularity*) ;;
  *) emx2_refuse "$emx2_apptainer is neither Apptainer nor Singularity: correct apptainer.command, or the prelude" ;;
esac

# Hours may lie between the look at the image and now, and a node may see another file under its name: another one, or a copy.
# What was seen of it lies in `image`: size, times of change and inode as stat spells them; then the hash that it is held to.
emx2_facts='' emx2_sha256=''
[ ! -e "$emx2_dir/.emx2/image" ] || { read -r emx2_facts && read -r emx2_sha256; } <"$emx2_dir/.emx2/image"
emx2_found=$(stat -Lc '%s %Y %Z %i' "$emx2_image" 2>/dev/null)
if [ -z "$emx2_facts" ] || [ "$emx2_facts" = "$emx2_found" ]; then
  :
elif [ -n "$emx2_sha256" ]; then
  emx2_sum=$(sha256sum <"$emx2_image" || openssl dgst -sha256 -r <"$emx2_image") ||
    emx2_refuse "$emx2_image can not be read, and its sha256 not be checked"
  [ "${emx2_sum%% *}" = "$emx2_sha256" ] ||
    emx2_refuse "$emx2_image is not the image whose sha256 was checked: it was replaced since, or the node sees another one"
elif [ -n "$emx2_found" ] && [ "${emx2_facts% * *}" != "${emx2_found% * *}" ]; then
  : >"$emx2_dir/.emx2/other-image.$emx2_run"
fi
