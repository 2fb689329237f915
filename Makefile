# SPDX-License-Identifier: GPL-2.0
#
# The front door, for people. The kernel's side of the build is in Kbuild, and this file is not
# copied into a kernel tree.

FRONT := tools/front
KERNEL ?= production
SCENARIO ?= msix3
MINUTES ?= 1
export KDIR KERNEL_TARBALL FORCE

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help run check check-all shell lint deb tree untree bench igt clients guest 3d clean distclean

define HELP
rust_gpu: a DRM driver in Rust for the virtio GPU.

  make run                 build all from nothing, boot, load the driver, print its report
  make check               the tests of every change: lint, ring, KUnit, kselftests, torture
  make check-all           all tests on all kernels (also PREEMPT_RT and kmemleak)
  make shell               the same guest as `make run`, interactive on its serial console
  make lint                rustfmt, CLIPPY=1, checkpatch --strict, W=1, rustdoc, shellcheck, pylint
  make deb                 Debian packages of a kernel with the driver, for your own guest
  make tree KDIR=~/linux   put the driver into your own Linux 7.3 tree
  make untree KDIR=...     take it out again, without a trace
  make bench               speed and memory, on the production kernel
  make igt                 Debian's IGT on the C driver and on this one, differences (an hour)
  make clients             modetest, Weston and Xorg: do the screens show what they drew?
  make guest               Debian guests: the packages of `make deb` installed and removed, desktops;
                           the screen on hosts that draw with OpenGL
  make 3d                  programs that draw with OpenGL, by the C driver and by this one
  make clean               remove what was built, keep the build root and the sources
  make distclean           remove the whole cache

On the command line or in the environment:

  KDIR=DIR                 run, check, deb: take the kernel source from DIR, which is not touched
  KERNEL_TARBALL=FILE      run, check, deb: take it from a tarball; by default it is Debian's package
  DEBS=DIR                 guest: take packages from DIR, in place of those of `make deb`
  KERNEL=NAME              run, shell: production (default), debug, rt, kmemleak
  SCENARIO=NAME            run, shell: the machine, see tools/frontdoor/scenarios.py ($(SCENARIO))
  CONFIG=FILE              deb: a configuration fragment, laid over tools/config/deb.config
  MINUTES=N                clients: how long a session with a resizing window lasts ($(MINUTES))
  RUST_GPU_CACHE=DIR       everything heavy (default: ~/.cache/rust_gpu, about 11 GB)
  RUST_GPU_ACCEL=NAME      QEMU's accelerator: kvm or tcg (default: kvm where it surely works)
  FORCE=1                  tree, untree: lose what you changed in the driver's files there

run, check, shell, deb, clients, guest and 3d need root on Debian 12 or 13, and install what they need with apt.
endef

help:
	$(info $(HELP))
	@:

run shell:
	@$(FRONT) $@ --kernel $(KERNEL) --scenario $(SCENARIO)

check lint bench igt 3d clean distclean:
	@$(FRONT) $@

deb:
	@$(FRONT) $@ $(if $(CONFIG),--config '$(CONFIG)')

clients:
	@$(FRONT) $@ --minutes $(MINUTES)

guest:
	@$(FRONT) $@ $(if $(DEBS),--debs '$(DEBS)')

check-all:
	@$(FRONT) check --all

tree untree:
	@$(FRONT) $@ $(KDIR)
