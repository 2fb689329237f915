// SPDX-License-Identifier: GPL-2.0

//! KUnit tests of the types of events, and of vertical retraces.

use kernel::prelude::*;

use crate::{
    irq::Status,
    scheduler::{
        self,
        InterruptType,
        Notify, //
    }, //
};

use super::Rig;

#[kunit_tests(rust_gpu_notify)]
mod suite {
    use super::*;

    #[test]
    fn interrupt_types_have_the_values_of_wddm() {
        let types = [
            InterruptType::DmaCompleted,
            InterruptType::DmaPreempted,
            InterruptType::CrtcVsync,
            InterruptType::DmaFaulted,
            InterruptType::DmaPageFaulted,
        ];
        assert_eq!(types.map(|kind| kind as u32), [1, 2, 3, 4, 9]);
    }

    #[test]
    fn only_retraces_can_be_controlled() {
        let mut notify = Notify::new();
        assert_eq!(
            notify.control_interrupt(InterruptType::CrtcVsync, 0, true),
            Ok(())
        );
        assert_eq!(
            notify.control_interrupt(InterruptType::DmaCompleted, 0, true),
            Err(ENOSYS)
        );
        assert_eq!(
            notify.control_interrupt(InterruptType::DmaFaulted, 0, false),
            Err(ENOSYS)
        );
    }

    #[test]
    fn retraces_are_reported_while_that_is_on() -> Result {
        let rig = Rig::new()?;
        let connection = rig.connect()?;
        let queued = || rig.adapter.counters(0).map(|counters| counters.dpcs_queued);
        let report = |target| scheduler::report_vsync(&rig.adapter, target, false);

        assert_eq!(report(1), Ok(false));
        assert_eq!(queued(), Ok(0));
        scheduler::control_vsync(&rig.adapter, 1, true);
        assert_eq!(report(1), Ok(true));
        assert_eq!(queued(), Ok(1));
        // Reports are on for one scanout. There is none with number 32.
        assert_eq!(report(0), Ok(false));
        scheduler::control_vsync(&rig.adapter, 32, true);
        assert_eq!(report(32), Ok(false));
        scheduler::control_vsync(&rig.adapter, 0, true);
        scheduler::control_vsync(&rig.adapter, 1, false);
        assert_eq!(report(0), Ok(true));
        assert_eq!(report(1), Ok(false));
        assert_eq!(scheduler::vsyncs(&rig.adapter), Ok(2));

        drop(connection);
        assert_eq!(report(0), Err(Status::Unsuccessful));
        assert_eq!(scheduler::vsyncs(&rig.adapter), Err(Status::Unsuccessful));
        Ok(())
    }
}
