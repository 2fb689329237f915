# SPDX-License-Identifier: GPL-2.0
"""The machines that the driver is tested in: one line each."""

IOMMU = ["-device", "intel-iommu,intremap=off"]
# Native hotplug, so that the slot's power can be switched off below a running driver.
ROOT_PORT = ["-global", "ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off",
             "-device", "pcie-root-port,id=port0,chassis=1,slot=1"]

# One guest nanosecond is one instruction: the same figures from run to run.
ICOUNT = ["-icount", "shift=0,sleep=off"]

# gpu: the device; machine: more devices before it; append: kernel arguments; smp: vCPUs; accel: QEMU's
# accelerator, where it matters.
SCENARIOS = {
    "msix3": {"gpu": "virtio-gpu-pci,vectors=3"},
    "msix2": {"gpu": "virtio-gpu-pci,vectors=2"},
    "msix1": {"gpu": "virtio-gpu-pci,vectors=1"},
    "intx": {"gpu": "virtio-gpu-pci,vectors=0"},
    "vga": {"gpu": "virtio-vga"},
    "pio-notify": {"gpu": "virtio-gpu-pci,modern-pio-notify=on"},
    "iommu": {"gpu": "virtio-gpu-pci,iommu_platform=on", "machine": IOMMU},
    "iommu-refused": {"gpu": "virtio-gpu-pci,iommu_platform=off", "machine": IOMMU},
    "root-port": {"gpu": "virtio-gpu-pci,bus=port0", "machine": ROOT_PORT},
    "root-port-intx": {"gpu": "virtio-gpu-pci,bus=port0,vectors=0", "machine": ROOT_PORT},
    "threadirqs": {"gpu": "virtio-gpu-pci", "append": "threadirqs"},
    "threadirqs-intx": {"gpu": "virtio-gpu-pci,vectors=0", "append": "threadirqs"},
    "up": {"gpu": "virtio-gpu-pci", "smp": 1},
    "smp4": {"gpu": "virtio-gpu-pci", "smp": 4},
    "two-heads": {"gpu": "virtio-gpu-pci,max_outputs=2"},
    "icount": {"gpu": "virtio-gpu-pci", "smp": 1, "machine": ICOUNT,
               "accel": "tcg,thread=single"},
    "no-gpu": {"gpu": None},
}
