// SPDX-License-Identifier: GPL-2.0

#include <linux/dma-direct.h>
#include <linux/dma-map-ops.h>
#include <linux/gfp.h>
#include <linux/io.h>
#include <linux/iommu-dma.h>
#include <linux/mm.h>

__rust_helper void *rust_helper_alloc_pages_exact(size_t size, gfp_t gfp_mask)
{
	return alloc_pages_exact(size, gfp_mask);
}

__rust_helper phys_addr_t rust_helper_virt_to_phys(void *address)
{
	return virt_to_phys(address);
}

__rust_helper phys_addr_t rust_helper_page_to_phys(struct page *page)
{
	return page_to_phys(page);
}

__rust_helper bool rust_helper_use_dma_iommu(struct device *dev)
{
	return use_dma_iommu(dev);
}

__rust_helper const struct dma_map_ops *rust_helper_get_dma_ops(struct device *dev)
{
	return get_dma_ops(dev);
}

__rust_helper phys_addr_t rust_helper_dma_to_phys(struct device *dev, dma_addr_t dma_addr)
{
	return dma_to_phys(dev, dma_addr);
}
