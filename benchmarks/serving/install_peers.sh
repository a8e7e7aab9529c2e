#!/usr/bin/env bash
# Makes the environment of the serving benchmark's peers: LitServe and Ray, over the packages of Pacer's environment.
#
#   benchmarks/serving/install_peers.sh PACERS_ENVIRONMENT FOLDER
#
# Pacer's own environment stays as it is. The interpreter is there also where the packages cannot be had.
set -euo pipefail

own=${1:?usage: install_peers.sh PACERS_ENVIRONMENT FOLDER}
folder=${2:?usage: install_peers.sh PACERS_ENVIRONMENT FOLDER}
wanted=$(cd "$(dirname "$0")" && pwd)/requirements.txt

if cmp -s "$wanted" "$folder/.installed"; then
    exit 0
fi
"$own/bin/python" -m venv --without-pip "$folder"
site() { "$1/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))'; }
site "$own" > "$(site "$folder")/pacer.pth"
"$own/bin/python" -m pip --python "$folder/bin/python" install --quiet -r "$wanted"
cp "$wanted" "$folder/.installed"
