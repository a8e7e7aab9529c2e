#!/usr/bin/env bash
# Installs Debian's chromium and its driver for the tests of the page, where that can be done; without them these tests
# are skipped, and say so.
set -euo pipefail

if command -v chromium >/dev/null && command -v chromedriver >/dev/null; then
    exit 0
fi
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
    echo "no chromium here: the tests of the page in a browser are skipped (apt-get install chromium chromium-driver)" >&2
    exit 0
fi
install=(env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends chromium chromium-driver)
{ "${install[@]}" || { apt-get update -qq && "${install[@]}"; }; } >/dev/null 2>&1 ||
    echo "chromium could not be installed: the tests of the page in a browser are skipped" >&2
