#!/usr/bin/env bash
# Installs Slurm, munge and MariaDB from the archive of Debian or Ubuntu, and starts none of them: while this runs,
# policy-rc.d forbids every service to start; what stood there before is put back.
set -euo pipefail
export DEBIAN_FRONTEND=noninteractive
packages=(slurm-wlm munge slurmdbd mariadb-server)
policy=/usr/sbin/policy-rc.d

put_back() {
  rm -f "$policy"
  [[ ! -e $policy.before-slurm-tests ]] || mv "$policy.before-slurm-tests" "$policy"
}
install_packages() { apt-get install -y -q --no-install-recommends "${packages[@]}"; }

trap put_back EXIT
[[ ! -e $policy ]] || mv "$policy" "$policy.before-slurm-tests"
printf '#!/bin/sh\nexit 101\n' >"$policy"
chmod 755 "$policy"

# The lists of a fresh container are empty, and old ones name versions that are gone.
install_packages || { apt-get update -q && install_packages; }
