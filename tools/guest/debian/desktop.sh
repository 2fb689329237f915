#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# Runs after terminal.sh in a disk with desktops: nothing on their screens changes on its own, and
# each session has a terminal.

set -eu

# A splash whose background is not the black of an empty screen.
sed -i 's/^Background\(Start\|End\)Color=.*/Background\1Color=0x204060/' \
	/usr/share/plymouth/themes/spinner/spinner.plymouth
plymouth-set-default-theme spinner

home=/home/user

# wlroots does not wait for llvmpipe before it shows a picture: with either driver parts are missing.
echo 'export WLR_RENDERER=pixman' >>"$home/.profile"
mkdir -p "$home/.config/sway" "$home/.config/foot" "$home/.config/openbox"
cat >"$home/.config/sway/config" <<'END'
output * bg #204060 solid_color
seat * hide_cursor 1000
exec foot
END
cat >"$home/.config/openbox/autostart" <<'END'
xsetroot -solid '#204060'
xset s off -dpms
xterm &
END
echo 'exec openbox-session' >"$home/.xinitrc"
chown -R user:user "$home"

mkdir -p /etc/lightdm/lightdm.conf.d
cat >/etc/lightdm/lightdm.conf.d/test.conf <<'END'
[Seat:*]
greeter-hide-users=false
user-session=openbox
END
cat >/etc/lightdm/lightdm-gtk-greeter.conf <<'END'
[greeter]
background=#204060
indicators=~host
user-background=false
END
