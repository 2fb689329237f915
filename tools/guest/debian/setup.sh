#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# Runs in the directory that becomes the disk of a Debian guest, as root: what Debian's installer
# asks for. The guest has no network, so its sources of packages are gone.

set -eu

cat >/etc/fstab <<END
LABEL=debian / ext4 errors=remount-ro 0 1
END
echo debian >/etc/hostname
echo "127.0.0.1 localhost debian" >/etc/hosts
echo root:debian | chpasswd
useradd --create-home --shell /bin/bash --groups audio,video,render user
echo user:debian | chpasswd

# The boot menu and the kernel also talk to the first serial port.
cat >>/etc/default/grub <<END
GRUB_TIMEOUT=2
GRUB_TERMINAL="console serial"
GRUB_SERIAL_COMMAND="serial --unit=0 --speed=115200"
GRUB_CMDLINE_LINUX_DEFAULT=""
GRUB_CMDLINE_LINUX="console=tty0 console=ttyS0"
END
# The GPU's driver is in the initramfs, as in guests that show something early. An emulated CPU takes
# minutes to compress one well.
echo virtio_gpu >>/etc/initramfs-tools/modules
sed -i 's/^# *COMPRESSLEVEL=.*/COMPRESSLEVEL=1/' /etc/initramfs-tools/initramfs.conf
update-initramfs -u
systemctl enable agent.service
# Work that comes and goes on its own is no part of a test.
systemctl mask apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer \
	e2scrub_reap.service fstrim.timer
# The commands of README are typed as they stand: nobody is there to answer.
echo 'APT::Get::Assume-Yes "true";' >/etc/apt/apt.conf.d/90assume-yes
rm -rf /etc/apt/sources.list /etc/apt/sources.list.d/* /var/lib/apt/lists/* /var/cache/apt/*
: >/etc/machine-id
