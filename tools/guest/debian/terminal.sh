#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# Runs after setup.sh in a disk with Weston: a login on the console, a terminal in Weston, and what is
# typed there.

set -eu

systemctl set-default multi-user.target

home=/home/user

# Short commands: a desktop that is slow to draw loses keys.
printf '#!/bin/sh\ntouch /tmp/typed\n' >/usr/local/bin/t
printf '#!/bin/sh\nls /\n' >/usr/local/bin/l
printf '#!/bin/sh\nclear\n' >/usr/local/bin/c
chmod +x /usr/local/bin/*

mkdir -p "$home/.config"
cp /weston.ini "$home/.config"
cat >>"$home/.config/weston.ini" <<'END'

[autolaunch]
path=/usr/bin/weston-terminal
END
chown -R user:user "$home"
