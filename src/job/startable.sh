# Fails where the program that is named by $0 could not be started in this image, as far as its shell can tell. With nothing but
# what that has itself.
found=$(command -v "$0") || exit 1
case $found in /*) ;; *) exit 0 ;; esac # the shell's own
[ -f "$found" ] && [ -x "$found" ] || exit 1
read -r first <"$found"
set -f
case $first in '#!'*)
  set -- ${first#??}
  [ -x "$1" ] || exit 1
  ;;
esac
[ "$found" != /.singularity.d/runscript ] || while read -r line; do
  # What Apptainer puts in the place of a runscript where the image has none.
  case $line in *'There is no runscript defined for this container'*) exit 1 ;; esac
done <"$found"
