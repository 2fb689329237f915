# SPDX-License-Identifier: GPL-2.0
"""Everything between a bare Debian machine and a tested rust_gpu driver in a running guest."""
