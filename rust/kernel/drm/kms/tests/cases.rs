// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The tests of mode setting.

use super::{
    user::*,
    *, //
};
use crate::kthread::Kthread;

#[kunit_tests(rust_drm_kms)]
mod tests {
    use super::{
        Caller::*,
        *, //
    };

    #[test]
    fn a_tick_sends_the_event() -> Result {
        let parent = faux::Registration::new(c"kunit-kms-tick", None)?;
        let fixture = Fixture::new(&parent, Scenario::Output)?;
        let device = fixture.device.clone();
        // Some commits may come from the console.
        let commits = device.commits.load(Relaxed);

        // Waits for the event.
        switch(&device, true)?;
        assert_eq!(device.commits.load(Relaxed), commits + 1);
        assert!(device.active.load(Relaxed));
        assert_eq!(device.events.load(Relaxed), 1);
        assert_eq!(device.sent_by_tick.load(Relaxed), 1);
        assert!(device.ticks.load(Relaxed) >= 1);

        // Now there are no ticks any more: `hw_done` sends the event.
        switch(&device, false)?;
        assert_eq!(device.commits.load(Relaxed), commits + 2);
        assert!(!device.active.load(Relaxed));
        assert_eq!(device.sent_by_tick.load(Relaxed), 1);

        switch(&device, true)?;
        assert_eq!(device.sent_by_tick.load(Relaxed), 2);
        assert_eq!(device.wrong.load(Relaxed), 0);
        Ok(())
    }

    #[test]
    fn nothing_is_on_after_the_unplug() -> Result {
        let parent = faux::Registration::new(c"kunit-kms-unplug", None)?;
        let fixture = Fixture::new(&parent, Scenario::Output)?;
        let device = fixture.device.clone();

        switch(&device, true)?;
        assert!(device.active.load(Relaxed));
        drop(fixture);
        assert!(!device.active.load(Relaxed));
        let ticks = device.ticks.load(Relaxed);

        assert_eq!(switch(&device, true), Err(ENODEV));
        switch(&device, false)?;
        assert!(!device.active.load(Relaxed));
        assert_eq!(device.ticks.load(Relaxed), ticks);

        assert_eq!(device.wrong.load(Relaxed), 0);

        // Two planes, a CRTC, a connector.
        assert_eq!(DROPPED.load(Relaxed), 0);
        drop(device);
        assert_eq!(DROPPED.load(Relaxed), 4);
        assert_eq!(DROPPED_BEFORE_DEVICE.load(Relaxed), 4);
        Ok(())
    }

    #[test]
    fn outputs_sleep_one_call_at_a_time() -> Result {
        let parent = faux::Registration::new(c"kunit-kms-sleep", None)?;
        let fixture = Fixture::new(&parent, Scenario::Output)?;
        let (registration, device) = (&fixture.registration, &fixture.device);

        switch(device, true)?;
        assert_eq!(registration.resume_outputs(), Err(EINVAL));
        registration.suspend_outputs()?;
        assert!(!device.active.load(Relaxed));
        assert_eq!(registration.suspend_outputs(), Err(EBUSY));

        // As if another thread were inside.
        registration.sleep.store(true, Relaxed);
        assert_eq!(registration.suspend_outputs(), Err(EBUSY));
        assert_eq!(registration.resume_outputs(), Err(EBUSY));
        assert!(!device.active.load(Relaxed));
        registration.sleep.store(false, Relaxed);

        registration.resume_outputs()?;
        assert!(device.active.load(Relaxed));
        assert_eq!(registration.resume_outputs(), Err(EINVAL));
        Ok(())
    }

    #[test]
    fn a_framebuffer_is_shown_until_the_shutdown() -> Result {
        let parent = faux::Registration::new(c"kunit-kms-show", None)?;
        let fixture = Fixture::new(&parent, Scenario::Output)?;
        let device = fixture.device.clone();

        // SAFETY: The device is valid, and the file until it is put.
        let (pitch, size, fb) = unsafe {
            let primary = (*device.as_raw()).primary;
            let file = from_err_ptr(bindings::mock_drm_getfile(primary, bindings::O_RDWR))?;
            let framebuffers = (
                add_framebuffer(&device, file, HEIGHT, PITCH * 2),
                add_framebuffer(&device, file, HEIGHT * 2, PITCH),
                add_framebuffer(&device, file, HEIGHT, PITCH),
            );
            bindings::__fput_sync(file);
            framebuffers
        };
        assert_eq!(pitch.err(), Some(EDOM));
        assert_eq!(size.err(), Some(EINVAL));
        // That of the framebuffer with a wrong size.
        assert_eq!(DROPPED.load(Relaxed), 1);

        let fb = fb?;
        // SAFETY: The framebuffer is valid until it is put; the plane has a reference of its own.
        let (refused, prepared, shown) = unsafe {
            let refused = [PLANES, CRTCS].map(|objects| {
                device.refused.store(objects, Relaxed);
                show(&device, true, fb, Caller::Blocking)
            });
            let prepared = device.prepared.load(Relaxed);
            device.refused.store(NOTHING, Relaxed);
            let shown = show(&device, true, fb, Caller::Blocking).and_then(|()| dirtyfb(fb));
            bindings::drm_mode_object_put(&raw mut (*fb).base);
            (refused, prepared, shown)
        };
        assert_eq!(refused, [Err(EBUSY); 2]);
        assert_eq!(prepared, 0);
        shown?;
        assert_eq!(device.prepared.load(Relaxed), 2);
        assert_eq!(device.shown.load(Relaxed), 2);
        assert_eq!(device.released.load(Relaxed), 0);

        drop(fixture);
        assert_eq!(device.released.load(Relaxed), 1);
        assert_eq!(DROPPED.load(Relaxed), 2);
        assert_eq!(device.wrong.load(Relaxed), 0);
        Ok(())
    }

    #[test]
    fn what_need_not_wait_is_committed_at_once() -> Result {
        let parent = faux::Registration::new(c"kunit-kms-nonblock", None)?;
        let fixture = Fixture::new(&parent, Scenario::Output)?;
        let device = fixture.device.clone();
        // SAFETY: There is no framebuffer.
        let show = |caller| unsafe { show(&device, true, ptr::null_mut(), caller) };
        let counts = || [&device.commits, &device.own_commits, &device.sent_by_tick];
        let before = counts().map(|count| count.load(Relaxed));
        let happened =
            |what: [i32; 3]| (0..3).all(|i| counts()[i].load(Relaxed) - before[i] == what[i]);

        // A modeset is for the worker. The next commit waits for it.
        show(Nonblocking)?;
        show(Blocking)?;
        assert!(happened([2, 1, 2]));

        device.stuck.store(FOREVER, Relaxed);
        show(Nonblocking)?;
        assert!(happened([3, 2, 2]));
        assert_eq!(show(Nonblocking), Err(EBUSY));
        assert_eq!(commit_crtc(&device), Err(EBUSY));
        assert!(happened([3, 2, 2]));

        device.stuck.store(0, Relaxed);
        show(Blocking)?;
        assert!(happened([4, 3, 4]));

        assert_eq!(device.wrong.load(Relaxed), 0);
        Ok(())
    }

    #[test]
    fn a_signal_ends_the_wait_for_the_previous_commit() -> Result {
        let parent = faux::Registration::new(c"kunit-kms-signal", None)?;
        let fixture = Fixture::new(&parent, Scenario::Output)?;
        let device = fixture.device.clone();
        // SAFETY: There is no framebuffer.
        let show = |caller| unsafe { show(&device, true, ptr::null_mut(), caller) };

        show(Blocking)?;
        device.stuck.store(FOREVER, Relaxed);
        show(Nonblocking)?;
        let commits = device.commits.load(Relaxed);
        let sent = device.sent_by_tick.load(Relaxed);
        let ended = with_signal(bindings::SIGUSR1, || show(Blocking));
        assert_eq!(ended, Err(ERESTARTSYS));
        assert_eq!(device.commits.load(Relaxed), commits);

        // Nobody would repeat what the kernel wants.
        device.stuck.store(3, Relaxed);
        with_signal(bindings::SIGKILL, || show(Kernel))?;
        assert_eq!(device.commits.load(Relaxed), commits + 1);
        assert!(device.sent_by_tick.load(Relaxed) > sent);

        // What is done needs no wait that a signal could end.
        device.stuck.store(0, Relaxed);
        show(Blocking)?;
        with_signal(bindings::SIGUSR1, || show(Blocking))?;
        assert_eq!(device.commits.load(Relaxed), commits + 3);
        assert_eq!(device.wrong.load(Relaxed), 0);
        Ok(())
    }

    #[test]
    fn only_a_fatal_signal_ends_the_wait_for_the_own_event() -> Result {
        let parent = faux::Registration::new(c"kunit-kms-kill", None)?;
        let fixture = Fixture::new(&parent, Scenario::Output)?;
        let device = fixture.device.clone();
        // SAFETY: There is no framebuffer.
        let show = |caller| unsafe { show(&device, true, ptr::null_mut(), caller) };

        show(Blocking)?;
        let commits = device.commits.load(Relaxed);
        let sent = device.sent_by_tick.load(Relaxed);
        device.stuck.store(3, Relaxed);
        with_signal(bindings::SIGUSR1, || show(Blocking))?;
        assert_eq!(device.commits.load(Relaxed), commits + 1);
        assert_eq!(device.sent_by_tick.load(Relaxed), sent + 1);

        // The commit happens all the same, and its event comes later.
        device.stuck.store(FOREVER, Relaxed);
        with_signal(bindings::SIGKILL, || show(Blocking))?;
        assert_eq!(device.commits.load(Relaxed), commits + 2);
        assert_eq!(device.sent_by_tick.load(Relaxed), sent + 1);
        assert_eq!(show(Nonblocking), Err(EBUSY));
        device.stuck.store(0, Relaxed);
        show(Blocking)?;
        assert_eq!(device.commits.load(Relaxed), commits + 3);
        assert_eq!(device.sent_by_tick.load(Relaxed), sent + 3);
        assert_eq!(device.wrong.load(Relaxed), 0);
        Ok(())
    }

    #[test]
    fn a_stalled_device_does_not_hold_up_the_close() -> Result {
        let parent = faux::Registration::new(c"kunit-kms-close", None)?;
        let fixture = Fixture::new(&parent, Scenario::Output)?;
        let device = fixture.device.clone();
        let [shown, other] = [OpenFile::new(&device)?, OpenFile::new(&device)?];
        // SAFETY: There is no framebuffer. The one that is shown stays.
        let again = |caller| unsafe { show(&device, true, ptr::null_mut(), caller) };

        other.show(Blocking)?;
        shown.show(Blocking)?;
        device.stuck.store(FOREVER, Relaxed);
        again(Nonblocking)?;
        let sent = device.sent_by_tick.load(Relaxed);
        let commits = device.commits.load(Relaxed);

        // The event is that of a frame that others see.
        device.stalled.store(true, Relaxed);
        drop(other);
        assert_eq!(again(Nonblocking), Err(EBUSY));
        assert_eq!(device.commits.load(Relaxed), commits);

        // The second commit removes the framebuffer.
        drop(shown);
        assert_eq!(device.commits.load(Relaxed), commits + 1);
        again(Nonblocking)?;
        again(Nonblocking)?;
        assert_eq!(device.sent_by_tick.load(Relaxed), sent);

        // From here on the frames are seen.
        let next = OpenFile::new(&device)?;
        next.show(Nonblocking)?;
        assert_eq!(again(Nonblocking), Err(EBUSY));
        assert_eq!(device.sent_by_tick.load(Relaxed), sent);
        device.stuck.store(0, Relaxed);
        assert_eq!(device.wrong.load(Relaxed), 0);
        Ok(())
    }

    #[test]
    fn only_events_that_nobody_would_miss_are_sent_at_once() -> Result {
        let parent = faux::Registration::new(c"kunit-kms-stalled", None)?;
        let fixture = Fixture::new(&parent, Scenario::Output)?;
        let device = fixture.device.clone();
        let [file, other] = [OpenFile::new(&device)?, OpenFile::new(&device)?];
        let next = file.add_framebuffer()?;
        // SAFETY: There is no framebuffer. The one that is shown stays.
        let again = |caller| unsafe { show(&device, true, ptr::null_mut(), caller) };

        file.show(Blocking)?;
        device.stuck.store(FOREVER, Relaxed);
        let sent = device.sent_by_tick.load(Relaxed);

        // On a device that works the event waits for its frame, also if the file is closed.
        again(Nonblocking)?;
        // SAFETY: The file is open.
        unsafe { closing::close::<KunitDriver>(file.as_raw()) };
        assert_eq!(again(Nonblocking), Err(EBUSY));

        // The next tick finds that it does not work any more.
        device.stalled.store(true, Relaxed);
        let mut left = 1000;
        while again(Nonblocking) == Err(EBUSY) && left > 0 {
            fsleep(Delta::from_millis(10));
            left -= 1;
        }
        again(Nonblocking)?;

        // Another framebuffer of the same file, and of another one.
        //
        // SAFETY: It is a framebuffer of the device.
        unsafe { show(&device, true, next, Nonblocking)? };
        again(Nonblocking)?;
        assert_eq!(device.sent_by_tick.load(Relaxed), sent);
        other.show(Nonblocking)?;
        assert_eq!(again(Nonblocking), Err(EBUSY));
        device.stuck.store(0, Relaxed);
        again(Blocking)?;
        let sent = device.sent_by_tick.load(Relaxed);

        // The kernel does not wait, but those that come after it do.
        device.stuck.store(FOREVER, Relaxed);
        again(Kernel)?;
        again(Kernel)?;
        again(Nonblocking)?;
        assert_eq!(again(Nonblocking), Err(EBUSY));
        assert_eq!(device.sent_by_tick.load(Relaxed), sent);
        device.stuck.store(0, Relaxed);
        assert_eq!(device.wrong.load(Relaxed), 0);
        Ok(())
    }

    #[test]
    fn a_hotplug_event_does_not_hold_up_other_devices() -> Result {
        // Without the console nobody probes the output.
        if !cfg!(CONFIG_DRM_FBDEV_EMULATION) {
            return Ok(());
        }

        let parent = faux::Registration::new(c"kunit-kms-hotplug", None)?;
        let fixture = Fixture::new(&parent, Scenario::Output)?;
        let other_parent = faux::Registration::new(c"kunit-kms-other", None)?;
        let other = Fixture::new(&other_parent, Scenario::Output)?;
        let device = fixture.device.clone();

        device.probe.store(HOLD, Relaxed);
        // SAFETY: It is not forgotten.
        let thread = unsafe { Kthread::new(c"kunit-hotplug", |_| device.hotplug_event()) }?;
        assert!(becomes(&device.probe, HELD));
        drop(other);
        device.probe.store(LET_GO, Relaxed);
        drop(thread);
        assert_eq!(device.wrong.load(Relaxed), 0);
        Ok(())
    }

    #[test]
    fn modes_are_probed() -> Result {
        let parent = faux::Registration::new(c"kunit-kms-probe", None)?;
        let fixture = Fixture::new(&parent, Scenario::Output)?;

        assert_eq!(probe(&fixture.device), (0, 0));
        fixture.device.connected.store(true, Relaxed);
        assert_eq!(probe(&fixture.device), (2, 1));
        fixture.device.connected.store(false, Relaxed);
        assert_eq!(probe(&fixture.device), (0, 0));
        assert_eq!(fixture.device.wrong.load(Relaxed), 0);
        Ok(())
    }

    #[test]
    fn without_a_crtc_there_is_no_mode_setting() -> Result {
        let parent = faux::Registration::new(c"kunit-kms-headless", None)?;
        let fixture = Fixture::new(&parent, Scenario::Headless)?;

        // SAFETY: The device is valid.
        let features = unsafe { (*fixture.registration.device().as_raw()).driver_features };
        assert_eq!(features & bindings::drm_driver_feature_DRIVER_MODESET, 0);
        assert_eq!(features & bindings::drm_driver_feature_DRIVER_ATOMIC, 0);

        drop(fixture);
        assert_eq!(DROPPED.load(Relaxed), 1);
        Ok(())
    }

    #[test]
    fn errors_of_the_set_up_are_not_ignored() -> Result {
        let parent = faux::Registration::new(c"kunit-kms-errors", None)?;

        for (scenario, error, dropped) in [
            (Scenario::PlaneFails, EDOM, 1),
            // The data of the CRTC, which was not used, and the cursor plane.
            (Scenario::WrongKind, EINVAL, 2),
            (Scenario::WrongCrtc, EINVAL, 3),
            (Scenario::PrimaryTwice, EINVAL, 5),
        ] {
            let fixture = Fixture::new(&parent, scenario);
            assert_eq!(fixture.err(), Some(error));
            assert_eq!(DROPPED.load(Relaxed), dropped);
            assert_eq!(DROPPED_BEFORE_DEVICE.load(Relaxed), dropped);
        }
        Ok(())
    }
}
