// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The tests of modes, and of what tells user space where to use them.

use super::{
    user::connector_property,
    *, //
};
use crate::drm::kms::modes::cvt_mode;

#[kunit_tests(rust_drm_kms_modes)]
mod tests {
    use super::*;

    const REFRESH: u32 = 60;

    /// Returns what is wrong with the mode of a size, if anything.
    fn fault(device: &drm::Device<KunitDriver>, width: u32, height: u32) -> Option<&'static str> {
        let dev = device.as_raw();
        // SAFETY: The device is valid. The mode is destroyed after its last use.
        let (mode, status) = unsafe {
            let Some(mode) = cvt_mode(dev, width, height, REFRESH) else {
                return Some("none");
            };
            let result = (*mode, bindings::drm_mode_validate_driver(dev, mode));
            bindings::drm_mode_destroy(dev, mode);
            result
        };
        let pixels = i64::from(mode.htotal) * i64::from(mode.vtotal);
        let rate = i64::from(mode.clock) * 1000 - i64::from(REFRESH) * pixels;

        if (u32::from(mode.hdisplay), u32::from(mode.vdisplay)) != (width, height) {
            Some("size")
        } else if status != bindings::drm_mode_status::MODE_OK {
            Some("timings")
        } else if mode.hsync_start == mode.hsync_end || mode.vsync_start == mode.vsync_end {
            Some("no sync pulse")
        } else if u32::from(mode.htotal) > 2 * width + 64 {
            Some("mostly blanking")
        } else if rate.abs() >= pixels {
            Some("more than a hertz from the rate")
        } else {
            None
        }
    }

    #[test]
    fn every_size_is_exact() -> Result {
        let parent = faux::Registration::new(c"kunit-kms-sizes", None)?;
        let fixture = Fixture::new(&parent, Scenario::Output)?;

        for width in 1..=8192 {
            for height in [768, 1 + width * 37 % 8192] {
                let fault = fault(&fixture.device, width, height);
                assert!(fault.is_none());
            }
        }
        for (width, height) in [(1, 1), (8, 1), (1, 8192), (8192, 1), (8192, 8192)] {
            assert_eq!(fault(&fixture.device, width, height), None);
        }
        assert_eq!(fault(&fixture.device, 32767, 32767), None);
        for (width, height) in [(0, 1), (1, 0), (32768, 1), (1, 32768)] {
            assert_eq!(fault(&fixture.device, width, height), Some("none"));
        }
        Ok(())
    }

    #[test]
    fn a_hotplug_event_follows_the_suggestions() -> Result {
        let parent = faux::Registration::new(c"kunit-kms-offset", None)?;
        let fixture = Fixture::new(&parent, Scenario::Output)?;
        let device = &*fixture.device;
        let offset =
            || [c"suggested X", c"suggested Y"].map(|name| connector_property(device, name));

        assert_eq!(connector_property(device, c"hotplug_mode_update"), Some(1));
        assert_eq!(offset(), [Some(0), Some(0)]);
        device.offset.store(3, Relaxed);
        assert_eq!(offset(), [Some(0), Some(0)]);
        device.hotplug_event();
        assert_eq!(offset(), [Some(3), Some(6)]);
        Ok(())
    }
}
