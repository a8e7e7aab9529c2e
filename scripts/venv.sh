#!/usr/bin/env bash
# Makes a virtual environment and installs Pacer into it, editable, with everything that draws, searches and checks.
#
#   scripts/venv.sh FOLDER
#
#   PYTHON             the interpreter to use; otherwise the first of python3, python3.14 ... python3.11 that fits
#   PACER_EXTRAS       which extras, "worker,search,dev" unless told otherwise
#   PACER_TORCH_INDEX  the package index that torch is taken from, e.g. one that holds CPU builds only
#   PACER_PIP          a pip zipapp (pip.pyz), for a Python with neither ensurepip nor pip
set -euo pipefail

folder=${1:?usage: scripts/venv.sh FOLDER}
root=$(cd "$(dirname "$0")/.." && pwd)
extras=${PACER_EXTRAS:-worker,search,dev}

fits() {  # whether an interpreter runs and has a version that pyproject.toml allows
    "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 15))' >/dev/null 2>&1
}

find_python() {
    local name
    if [ -n "${PYTHON:-}" ]; then
        fits "$PYTHON" || { echo "PYTHON=$PYTHON is no Python >= 3.11, < 3.15" >&2; return 1; }
        echo "$PYTHON"
        return
    fi
    for name in python3 python3.14 python3.13 python3.12 python3.11; do
        if fits "$name"; then
            echo "$name"
            return
        fi
    done
    echo "No Python >= 3.11, < 3.15 found; install one, or name it: make install PYTHON=/path/to/python3" >&2
    return 1
}

bootstrap_pip() {  # gives an environment without pip its pip, from whatever pip there is
    local python=$1 candidate wheel
    if [ -n "${PACER_PIP:-}" ]; then
        "$folder/bin/python" "$PACER_PIP" install pip
        return
    fi
    for candidate in "$python -m pip" pip3 pip; do
        # --python needs pip >= 22.3
        if $candidate --python "$folder/bin/python" install pip 2>/dev/null; then
            return
        fi
    done
    for wheel in /usr/share/python-wheels/pip-*.whl; do  # where Debian keeps one; pip runs from inside its wheel
        if [ -f "$wheel" ] && "$folder/bin/python" "$wheel/pip" install --ignore-installed pip; then
            return
        fi
    done
    echo "This Python has neither ensurepip nor a pip >= 22.3; install python3-venv or python3-pip," \
        "or set PACER_PIP to a pip zipapp." >&2
    return 1
}

make_environment() {
    local python=$1
    if "$python" -c 'import ensurepip' >/dev/null 2>&1 && "$python" -m venv --clear "$folder"; then
        return
    fi
    "$python" -m venv --clear --without-pip "$folder"
    bootstrap_pip "$python"
}

pip_install() {
    "$folder/bin/python" -m pip install --disable-pip-version-check --quiet "$@"
}

if ! fits "$folder/bin/python" || ! "$folder/bin/python" -m pip --version >/dev/null 2>&1; then
    python=$(find_python)
    echo "Making $folder with $("$python" --version)"
    make_environment "$python"
fi

cd "$root"
echo "Installing pacer[$extras] into $folder; the first time this takes a few minutes"
pip_install --upgrade --constraint constraints.txt pip
if [ -n "${PACER_TORCH_INDEX:-}" ]; then
    # Only torch itself from there: the index may lack the pinned versions of what torch needs.
    pip_install --index-url "$PACER_TORCH_INDEX" --no-deps "$(grep '^torch[<>=]' constraints.txt)"
fi
pip_install --constraint constraints.txt --editable ".[$extras]"
