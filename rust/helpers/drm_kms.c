// SPDX-License-Identifier: GPL-2.0

#include <linux/dma-fence.h>

#include <drm/drm_atomic.h>
#include <drm/drm_client_event.h>
#include <drm/drm_drv.h>
#include <drm/drm_managed.h>
#include <drm/drm_modeset_helper_vtables.h>

#ifdef CONFIG_RUST_DRM_KMS_HELPER

__rust_helper void *
rust_helper_drmm_kzalloc(struct drm_device *dev, size_t size, gfp_t gfp)
{
	return drmm_kzalloc(dev, size, gfp);
}

__rust_helper void
rust_helper_drm_plane_helper_add(struct drm_plane *plane,
				 const struct drm_plane_helper_funcs *funcs)
{
	drm_plane_helper_add(plane, funcs);
}

__rust_helper void
rust_helper_drm_crtc_helper_add(struct drm_crtc *crtc,
				const struct drm_crtc_helper_funcs *funcs)
{
	drm_crtc_helper_add(crtc, funcs);
}

__rust_helper void
rust_helper_drm_connector_helper_add(struct drm_connector *connector,
				     const struct drm_connector_helper_funcs *funcs)
{
	drm_connector_helper_add(connector, funcs);
}

__rust_helper struct drm_plane_state *
rust_helper_drm_atomic_get_old_plane_state(const struct drm_atomic_commit *state,
					   struct drm_plane *plane)
{
	return drm_atomic_get_old_plane_state(state, plane);
}

__rust_helper struct drm_plane_state *
rust_helper_drm_atomic_get_new_plane_state(const struct drm_atomic_commit *state,
					   struct drm_plane *plane)
{
	return drm_atomic_get_new_plane_state(state, plane);
}

__rust_helper struct drm_crtc_state *
rust_helper_drm_atomic_get_new_crtc_state(const struct drm_atomic_commit *state,
					  struct drm_crtc *crtc)
{
	return drm_atomic_get_new_crtc_state(state, crtc);
}

__rust_helper void rust_helper_drm_atomic_commit_put(struct drm_atomic_commit *state)
{
	drm_atomic_commit_put(state);
}

__rust_helper struct drm_crtc_commit *
rust_helper_drm_crtc_commit_get(struct drm_crtc_commit *commit)
{
	return drm_crtc_commit_get(commit);
}

__rust_helper void rust_helper_drm_crtc_commit_put(struct drm_crtc_commit *commit)
{
	drm_crtc_commit_put(commit);
}

__rust_helper bool
rust_helper_drm_atomic_crtc_needs_modeset(const struct drm_crtc_state *state)
{
	return drm_atomic_crtc_needs_modeset(state);
}

#ifndef CONFIG_LOCKDEP
__rust_helper bool rust_helper_dma_fence_begin_signalling(void)
{
	return dma_fence_begin_signalling();
}

__rust_helper void rust_helper_dma_fence_end_signalling(bool cookie)
{
	dma_fence_end_signalling(cookie);
}
#endif

__rust_helper bool rust_helper_drm_dev_is_unplugged(struct drm_device *dev)
{
	return drm_dev_is_unplugged(dev);
}

#ifndef CONFIG_DRM_CLIENT
__rust_helper void rust_helper_drm_client_dev_hotplug(struct drm_device *dev)
{
	drm_client_dev_hotplug(dev);
}
#endif

#endif /* CONFIG_RUST_DRM_KMS_HELPER */
