#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# Runs after terminal.sh in a disk with GNOME: nothing on its screen changes on its own but the clock.

set -eu

schemas=/usr/share/glib-2.0/schemas
cat >"$schemas/99_test.gschema.override" <<'END'
[org.gnome.desktop.interface]
enable-animations=false

[org.gnome.desktop.notifications]
show-banners=false
END
/usr/lib/x86_64-linux-gnu/glib-2.0/glib-compile-schemas "$schemas"
