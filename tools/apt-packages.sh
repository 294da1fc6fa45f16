#!/bin/sh
# Installs what building Ringfence and running its tests need of a Debian or Ubuntu machine.
# Does nothing, and needs no root, where all of it is there.
set -eu

packages="ca-certificates debian-archive-keyring gcc git gpgv libc6-dev python3 python3-dev python3-venv"
# For one test each, and not in every release: installed along with the others where they are to be had.
extra="passt"

missing=""
for package in $packages; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing="$missing $package"
done
[ -z "$missing" ] && exit 0

sudo=""
[ "$(id -u)" -eq 0 ] || sudo=sudo
echo "installing:$missing"
$sudo apt-get update -q
for package in $extra; do
    if apt-cache show "$package" >/dev/null 2>&1; then missing="$missing $package"; fi
done
DEBIAN_FRONTEND=noninteractive $sudo apt-get install -q -y --no-install-recommends $missing
