# SPDX-License-Identifier: GPL-2.0
"""Lists the machines in which the driver is tested."""

IOMMU = ["-device", "intel-iommu,intremap=off"]
# A bus of its own behind an IOMMU whose driver is a module. The disk, which has that, is not there.
VIRTIO_IOMMU = ["-M", "default-bus-bypass-iommu=on", "-device", "virtio-iommu-pci",
                "-device", "pxb-pcie,id=pxb,bus_nr=32",
                "-device", "pcie-root-port,id=port1,bus=pxb"]
# Native hotplug: the slot can be switched off while the driver runs.
ROOT_PORT = ["-global", "ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off",
             "-device", "pcie-root-port,id=port0,chassis=1,slot=1"]

SLOT = {"env": "RUST_GPU_SLOT_OFF=1"}
# One guest nanosecond is one instruction: the same figures from run to run.
ICOUNT = ["-icount", "shift=0,sleep=off"]

# A guest with virtio disks, as most are. The C driver leaves DMA mappings and the buffer of a
# console behind when it is unbound.
VIRTIO = {"gpu": "virtio-gpu-pci", "disks": "virtio",
          "append": "drm_kms_helper.fbdev_emulation=0 dma_debug=off"}

# gpu: the device; machine: more devices before it; append: kernel arguments; smp: vCPUs;
# accel: QEMU's accelerator, where it matters; expect: interrupt type and number of messages; env:
# more environment for the tests; allow: lines of the kernel log that are right in this machine;
# taint: flags that its kernel may have then.
# kexec: the guest can boot its kernel once more.
# device: options of a device of our own (device.py) in place of QEMU's, with so many heads.
# window: QEMU draws with OpenGL into a window, and that is where the screen is looked at (xvfb.py).
# disks: of virtio in place of NVMe; load: modules that the initramfs loads, in this order.
SCENARIOS = {
    "msix3": {"gpu": "virtio-gpu-pci,vectors=3", "expect": "msix 3"},
    "msix2": {"gpu": "virtio-gpu-pci,vectors=2", "expect": "msix 2"},
    "msix1": {"gpu": "virtio-gpu-pci,vectors=1", "expect": "msix 1"},
    "intx": {"gpu": "virtio-gpu-pci,vectors=0", "expect": "intx 1"},
    "vga": {"gpu": "virtio-vga", "expect": "msix 3"},
    # The firmware has set a mode, 1024x768 with 32 bits, by VESA's number.
    "vga-firmware": {"gpu": "virtio-vga", "append": "vga=0x344"},
    # The same, for a probe that fails.
    "vga-held": {"gpu": "virtio-vga", "append": "vga=0x344"},
    "pio-notify": {"gpu": "virtio-gpu-pci,modern-pio-notify=on", "expect": "msix 3"},
    "iommu": {"gpu": "virtio-gpu-pci,iommu_platform=on", "expect": "msix 3", "machine": IOMMU},
    # Without the feature, as is QEMU's default, the device takes physical addresses.
    "iommu-physical": {"gpu": "virtio-gpu-pci,iommu_platform=off", "expect": "msix 3",
                       "machine": IOMMU},
    "iommu-pt": {"gpu": "virtio-gpu-pci,iommu_platform=on", "expect": "msix 3",
                 "machine": IOMMU, "append": "iommu=pt"},
    "iommu-pt-physical": {"gpu": "virtio-gpu-pci,iommu_platform=off", "expect": "msix 3",
                          "machine": IOMMU, "append": "iommu=pt"},
    # Strict: a timer that flushes waits for ever for an IOMMU that the end of the guest has reset.
    "virtio-iommu": {"gpu": "virtio-gpu-pci,bus=port1,iommu_platform=on", "expect": "msix 3",
                     "machine": VIRTIO_IOMMU, "load": "virtio_pci virtio_iommu",
                     "append": "iommu.strict=1"},
    "virtio-iommu-physical": {"gpu": "virtio-gpu-pci,bus=port1,iommu_platform=off",
                              "expect": "msix 3", "machine": VIRTIO_IOMMU,
                              "load": "virtio_pci virtio_iommu"},
    # The device reads copies of the buffers. Not for tests of udmabuf, whose segments are too large
    # to be copied.
    "swiotlb": {"gpu": "virtio-gpu-pci,iommu_platform=on", "append": "swiotlb=force",
                "expect": "msix 3"},
    "swiotlb-physical": {"gpu": "virtio-gpu-pci", "append": "swiotlb=force", "expect": "msix 3"},
    "root-port": {"gpu": "virtio-gpu-pci,bus=port0",
                  "expect": "msix 3", "machine": ROOT_PORT, **SLOT},
    "root-port-intx": {"gpu": "virtio-gpu-pci,bus=port0,vectors=0",
                       "expect": "intx 1", "machine": ROOT_PORT, **SLOT},
    # For debug kernels: lockdep warns of pciehp's own locks (reset_lock against
    # pci_lock_rescan_remove) when a slot is switched off.
    "root-port-debug": {"gpu": "virtio-gpu-pci,bus=port0", "expect": "msix 3",
                        "machine": ROOT_PORT},
    "threadirqs": {"gpu": "virtio-gpu-pci", "expect": "msix 3", "append": "threadirqs"},
    "threadirqs-intx": {"gpu": "virtio-gpu-pci,vectors=0",
                        "expect": "intx 1", "append": "threadirqs"},
    "up": {"gpu": "virtio-gpu-pci", "expect": "msix 3", "smp": 1},
    "smp4": {"gpu": "virtio-gpu-pci", "expect": "msix 3", "smp": 4},
    # Without a console: the C driver leaves its buffer behind when it is unbound, with a warning.
    "handover": {"gpu": "virtio-gpu-pci", "append": "drm_kms_helper.fbdev_emulation=0"},
    # Which driver has the device. A module that the kernel has built in is not loaded.
    "virtio": {**VIRTIO, "load": "virtio_pci virtio_blk virtio_gpu rust_gpu",
               "env": "RUST_GPU_EXPECT_LEFT=virtio-pci"},
    "virtio-rust-first": {**VIRTIO, "load": "rust_gpu virtio_pci virtio_blk virtio_gpu",
                          "env": "RUST_GPU_EXPECT_LEFT="},
    "virtio-rust-late": {**VIRTIO, "load": "virtio_pci virtio_blk",
                         "append": f"{VIRTIO['append']} virtio_gpu_driver=both",
                         "env": "RUST_GPU_EXPECT_LEFT=virtio-pci"},
    "virtio-c": {**VIRTIO, "load": "rust_gpu virtio_pci virtio_blk virtio_gpu",
                 "append": f"{VIRTIO['append']} virtio_gpu_driver=c"},
    "headless": {"gpu": "virtio-gpu-pci,max_outputs=0", "expect": "msix 3"},
    "log": {"gpu": "virtio-gpu-pci",
            "append": "drm_client_lib.active=log console=drm_log console=ttyS0"},
    "nomodeset": {"gpu": "virtio-gpu-pci", "append": "nomodeset"},
    # Stays as it is after a panic, for the host to look at. The QR code has to be large enough for
    # the trace as well, as that comes after the panic's words.
    "panic": {"gpu": "virtio-gpu-pci,max_outputs=2", "append": "panic=0 drm.panic_qr_version=38",
              "allow": r"Kernel panic - not syncing: sysrq triggered crash|Call Trace:"},
    # The kernel's last messages are drawn too.
    "ends": {"gpu": "virtio-gpu-pci", "append": "console=tty0 console=ttyS0"},
    # With the kernel and the initramfs on two more disks.
    "kexec": {"gpu": "virtio-gpu-pci", "kexec": True},
    # A device with 3D, on a host that draws with the CPU.
    "gl": {"gpu": "virtio-gpu-gl-pci", "expect": "msix 3", "window": True},
    "vga-gl": {"gpu": "virtio-vga-gl", "expect": "msix 3", "window": True},
    "two-heads": {"gpu": "virtio-gpu-pci,max_outputs=2"},
    "three-heads": {"gpu": "virtio-gpu-pci,max_outputs=3,edid=off"},
    "icount": {"gpu": "virtio-gpu-pci", "smp": 1, "machine": ICOUNT,
               "accel": "tcg,thread=single"},
    "icount-handover": {"gpu": "virtio-gpu-pci", "smp": 1, "machine": ICOUNT,
                        "accel": "tcg,thread=single",
                        "append": "drm_kms_helper.fbdev_emulation=0"},
    "no-gpu": {"gpu": None},
    "own": {"gpu": None, "device": [], "heads": 1, "expect": "msix 3"},
    "own-kexec": {"gpu": None, "device": [], "heads": 1, "kexec": True},
    "own-plain": {"gpu": None, "device": ["--no-event-idx", "--no-indirect", "--no-edid"],
                  "heads": 2, "expect": "msix 3"},
    "own-intx": {"gpu": None, "device": ["--vectors=0"], "heads": 2, "expect": "intx 1"},
    "own-msix1": {"gpu": None, "device": ["--vectors=1"], "heads": 2, "expect": "msix 1"},
    "own-gone": {"gpu": None, "device": [], "heads": 1},
    # It may be left without a reset: the driver leaks what it knew, and says so in one line.
    "own-stuck": {"gpu": None, "device": [], "heads": 1, "allow": r"rust_gpu.*leak"},
    "own-virgl": {"gpu": None, "device": ["--virgl"], "heads": 1},
    "own-virgl-c": {"gpu": None, "device": ["--virgl"], "heads": 1,
                    "append": "virtio_gpu_driver=c"},
    # Memory is copied before the device has it, and what it writes there is not seen.
    "own-virgl-copies": {"gpu": None, "device": ["--virgl", "--access-platform"], "heads": 1,
                         "append": "swiotlb=force"},
    "own-virgl-handover": {"gpu": None, "device": ["--virgl"], "heads": 1,
                           "append": "drm_kms_helper.fbdev_emulation=0"},
    # The device is a process, whose time is none of the guest's.
    "own-virgl-icount": {"gpu": None, "device": ["--virgl"], "heads": 1, "smp": 1,
                         "machine": ICOUNT, "accel": "tcg,thread=single",
                         "append": "drm_kms_helper.fbdev_emulation=0"},
    # With one of QEMU's beside it.
    "own-and-another": {"gpu": None, "device": [], "heads": 1,
                        "machine": ["-device", "virtio-gpu-pci,id=gpu1"]},
    "own-two-heads": {"gpu": None, "device": [], "heads": 2},
    # With memory in a BAR, where a firmware has its framebuffer.
    # Without memory the kernel makes fewer files for an interrupt, and warns when it removes them.
    "own-firmware": {"gpu": None, "device": ["--framebuffer=16"], "heads": 1, "taint": "W",
                     "allow": r"WARNING: fs/proc/generic.c:\d+ at remove_proc_entry|Call Trace:"},
}
