#!/bin/sh
# Installs what the emulated machine and the tests over ssh need from the system, where it is
# missing. Needs root; without it, says what to install.
set -eu
missing=
need() {  # PROGRAM PACKAGE
    PATH="$PATH:/usr/sbin:/sbin" command -v "$1" > /dev/null || missing="$missing $2"
}
need qemu-system-aarch64 qemu-system-arm
need qemu-aarch64-static qemu-user-static
need mke2fs e2fsprogs
need sshd openssh-server
need ssh openssh-client
[ -e /usr/share/keyrings/debian-archive-keyring.gpg ] || missing="$missing debian-archive-keyring"
[ -z "$missing" ] && exit 0
if [ "$(id -u)" != 0 ]; then
    echo "make test-emulated needs packages that only root may install:" >&2
    echo "    apt-get install$missing" >&2
    exit 1
fi
apt-get update -qq
# sshd is only for the tests' own server on loopback: the system's is not to be started
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' > "$policy"
    chmod +x "$policy"
fi
# shellcheck disable=SC2086
DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $missing
