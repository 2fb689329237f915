// SPDX-License-Identifier: GPL-2.0

//! KUnit tests of the watchdog's clock, beat by beat.

use kernel::{
    prelude::*,
    sync::atomic::Relaxed, //
};

use crate::scheduler::{
    self,
    watchdog::Clock,
    Hang,
    Hardware,
    Health,
    Node, //
};

use super::{
    Fake,
    Rig, //
};

impl Rig {
    /// Lets so many beats pass. Returns whether the clock goes on after the last one.
    fn beat(&self, clock: &mut Clock, count: u32) -> bool {
        let (mut passed, mut goes_on) = (0, false);
        while passed < count {
            let next = self.next_beat(clock);
            passed += next.unwrap_or(1);
            goes_on = next.is_some();
        }
        goes_on
    }

    /// Does one beat of the clock. Returns after how many the next one is due.
    fn next_beat(&self, clock: &mut Clock) -> Option<u32> {
        clock.beat(&self.adapter, &self.fake().fences)
    }

    /// Returns the counters: stalls, lost interrupts, lost kicks, resets.
    fn counted(&self) -> [u64; 4] {
        let counters = self.fake().watchdog.counters();
        [
            counters.stalls.load(Relaxed),
            counters.lost_interrupts.load(Relaxed),
            counters.lost_kicks.load(Relaxed),
            counters.resets.load(Relaxed),
        ]
    }

    fn is_stalled(&self) -> bool {
        self.fake().fences.is_stalled()
    }

    /// Says whether the engine of the cursor node has executed something in vain.
    fn set_overdue(&self, overdue: bool) {
        let _ = self.adapter.synchronize_execution(1, |state| {
            let queue = Fake::node(state, Node::Cursor)?;
            queue.engine.as_mut()?.overdue = overdue;
            Some(())
        });
    }
}

#[kunit_tests(rust_gpu_watchdog)]
mod suite {
    use super::*;

    #[test]
    fn an_idle_device_has_no_tick() -> Result {
        let rig = Rig::new()?;
        let _connection = rig.connect()?;
        let mut clock = Clock::new();

        assert!(rig.command(Node::Control, 1).is_ok());
        assert_eq!(rig.complete(1), Ok(Some(1)));
        clock.start();
        assert!(rig.beat(&mut clock, 2));
        assert!(!rig.beat(&mut clock, 1));

        // Packets between two ticks neither stop nor start it.
        assert!(rig.command(Node::Control, 1).is_ok());
        assert_eq!(rig.complete(1), Ok(Some(2)));
        assert!(rig.fake().watchdog.take_start());
        clock.start();
        assert!(rig.beat(&mut clock, 2));
        for fence in 3..6 {
            assert!(rig.command(Node::Control, 1).is_ok());
            assert_eq!(rig.complete(1), Ok(Some(fence)));
            assert!(!rig.fake().watchdog.take_start());
            // Nothing to find before the next tick.
            assert_eq!(rig.next_beat(&mut clock), Some(2));
        }
        assert_eq!(rig.next_beat(&mut clock), None);
        assert!(rig.command(Node::Control, 1).is_ok());
        assert!(rig.fake().watchdog.take_start());
        assert_eq!(rig.complete(1), Ok(Some(6)));

        // While a higher layer has work for it, it goes on.
        rig.fake().more.store(true, Relaxed);
        clock.start();
        assert!(rig.beat(&mut clock, 10));
        rig.fake().more.store(false, Relaxed);
        assert!(!rig.beat(&mut clock, 1));
        assert_eq!(rig.counted(), [0; 4]);
        Ok(())
    }

    #[test]
    fn a_stalled_engine_is_kicked_until_it_goes_on() -> Result {
        let rig = Rig::new()?;
        let _connection = rig.connect()?;
        let mut clock = Clock::new();
        let fake = rig.fake();

        assert!(rig.command(Node::Control, 2).is_ok());
        let kicks = fake.kicks.load(Relaxed);
        clock.start();
        assert!(rig.beat(&mut clock, 2));
        assert_eq!(fake.health_reads.load(Relaxed), 0);
        // The first tick without progress: the status is read.
        assert!(rig.beat(&mut clock, 2));
        assert_eq!(fake.health_reads.load(Relaxed), 1);
        assert_eq!(fake.kicks.load(Relaxed), kicks);
        assert!(!rig.is_stalled());
        // Each one after that.
        for again in 1..=3 {
            assert!(rig.beat(&mut clock, 2));
            assert_eq!(fake.kicks.load(Relaxed), kicks + again);
            assert!(rig.is_stalled());
        }
        assert_eq!(rig.counted(), [1, 0, 0, 0]);
        assert_eq!(fake.recovered.load(Relaxed), 0);

        assert_eq!(rig.complete(1), Ok(Some(1)));
        assert!(rig.beat(&mut clock, 2));
        assert!(!rig.is_stalled());
        assert_eq!(rig.counted(), [1, 0, 1, 0]);
        assert_eq!(fake.recovered.load(Relaxed), 1);
        assert_eq!(fake.kicks.load(Relaxed), kicks + 3);
        // It does not count twice.
        assert_eq!(rig.complete(1), Ok(Some(2)));
        assert!(!rig.beat(&mut clock, 1));
        assert_eq!(rig.counted(), [1, 0, 1, 0]);
        assert_eq!(fake.health_reads.load(Relaxed), 4);
        Ok(())
    }

    #[test]
    fn a_slow_engine_is_not_stalled() -> Result {
        let rig = Rig::new()?;
        let _connection = rig.connect()?;
        let mut clock = Clock::new();
        let kicks = |rig: &Rig| rig.fake().kicks.load(Relaxed);

        assert!(rig.command(Node::Control, 4).is_ok());
        let before = kicks(&rig);
        clock.start();
        for fence in 1..=3 {
            // Less than two whole ticks for each.
            assert!(rig.beat(&mut clock, 4));
            assert_eq!(rig.complete(1), Ok(Some(fence)));
        }
        assert_eq!(kicks(&rig), before);
        assert_eq!(rig.counted(), [0; 4]);
        // Packets that came just before a tick have not waited for one.
        assert_eq!(rig.complete(1), Ok(Some(4)));
        assert!(rig.command(Node::Control, 1).is_ok());
        assert!(rig.beat(&mut clock, 3));
        assert_eq!(rig.complete(1), Ok(Some(5)));
        assert_eq!(rig.counted(), [0; 4]);
        Ok(())
    }

    #[test]
    fn lost_interrupts_are_made_up_for() -> Result {
        let rig = Rig::new()?;
        let _connection = rig.connect()?;
        let mut clock = Clock::new();
        let completed = |rig: &Rig| {
            let known = rig.adapter.synchronize_execution(1, |state| {
                Fake::node(state, Node::Cursor).map(|queue| queue.completed())
            });
            known.ok().flatten()
        };

        // For a whole tick: two beats after it was seen.
        assert!(rig.command(Node::Cursor, 1).is_ok());
        rig.set_overdue(true);
        clock.start();
        assert!(rig.beat(&mut clock, 2));
        assert_eq!(completed(&rig), Some(0));
        rig.beat(&mut clock, 1);
        assert_eq!(completed(&rig), Some(1));
        assert_eq!(rig.counted(), [0, 1, 0, 0]);

        // An interrupt that is only late.
        assert!(rig.command(Node::Cursor, 1).is_ok());
        clock.start();
        assert!(rig.beat(&mut clock, 2));
        rig.set_overdue(false);
        // The clock polls, as the engine had the packet for a tick and was asked for no interrupt.
        assert!(!rig.beat(&mut clock, 1));
        assert_eq!(completed(&rig), Some(2));
        assert_eq!(rig.counted(), [0, 1, 0, 0]);
        Ok(())
    }

    #[test]
    fn the_status_is_told() -> Result {
        let rig = Rig::new()?;
        let _connection = rig.connect()?;
        let mut clock = Clock::new();
        let mut stall = |health: Health| {
            rig.fake().health.store(health as u32, Relaxed);
            assert!(rig.command(Node::Control, 1).is_ok());
            clock.start();
            rig.beat(&mut clock, 4);
            assert!(rig.complete(1).is_ok());
            rig.beat(&mut clock, 2);
            rig.fake().broken.load(Relaxed)
        };

        assert_eq!(stall(Health::Good), 0);
        assert_eq!(stall(Health::Reset), 0);
        assert_eq!(stall(Health::NeedsReset), 1);
        assert_eq!(stall(Health::Gone), 2);
        assert_eq!(rig.counted(), [0, 0, 0, 1]);
        Ok(())
    }

    /// Counts the ticks until the device hangs.
    fn ticks_until_hang(rig: &Rig, clock: &mut Clock, most: u32) -> Option<(u32, Hang)> {
        (0..most).find_map(|tick| {
            rig.beat(clock, 2);
            Some((tick + 1, clock.take_hang()?))
        })
    }

    #[test]
    fn an_engine_that_stands_still_hangs() -> Result {
        let rig = Rig::new()?;
        let _connection = rig.connect()?;
        let mut clock = Clock::new();
        let hang = Some((8, Hang::Timeout(Node::Control)));

        assert!(rig.command(Node::Control, 2).is_ok());
        clock.start();
        assert_eq!(ticks_until_hang(&rig, &mut clock, 20), hang);
        // Nobody has reset it: once in a tick.
        assert!(rig.beat(&mut clock, 2));
        assert!(clock.take_hang().is_some() && clock.take_hang().is_none());

        // Not if it goes on, at the last moment too.
        assert_eq!(rig.complete(1), Ok(Some(1)));
        assert_eq!(ticks_until_hang(&rig, &mut clock, 7), None);
        assert_eq!(rig.complete(1), Ok(Some(2)));
        assert_eq!(ticks_until_hang(&rig, &mut clock, 7), None);

        // Nor if that is not wanted. Then the status is read no more than once.
        rig.fake().resets.store(false, Relaxed);
        let reads = rig.fake().health_reads.load(Relaxed);
        assert!(rig.command(Node::Control, 1).is_ok());
        clock.start();
        assert_eq!(ticks_until_hang(&rig, &mut clock, 30), None);
        assert_eq!(rig.fake().health_reads.load(Relaxed), reads + 1);
        Ok(())
    }

    #[test]
    fn a_node_is_preempted_before_it_hangs() -> Result {
        let rig = Rig::new()?;
        let _connection = rig.connect()?;
        let mut clock = Clock::new();
        let queued = || rig.progress(Node::Control).map(|found| found.queued);

        // One is staged.
        assert!(rig.submit(Node::Control, 7).is_ok());
        let is_preempting = || rig.with_control(|queue| Some(queue.is_preempting()));
        clock.start();
        assert_eq!(ticks_until_hang(&rig, &mut clock, 3), None);
        assert_eq!(is_preempting(), Ok(Some(false)));
        assert_eq!(ticks_until_hang(&rig, &mut clock, 1), None);
        assert_eq!(is_preempting(), Ok(Some(true)));
        assert_eq!(queued(), Ok(1));
        let hang = Some((4, Hang::Timeout(Node::Control)));
        assert_eq!(ticks_until_hang(&rig, &mut clock, 20), hang);
        Ok(())
    }

    #[test]
    fn no_clock_runs_for_open_packets() -> Result {
        let rig = Rig::new()?;
        let _connection = rig.connect()?;
        let mut clock = Clock::new();

        rig.open_next(1);
        assert!(rig.submit(Node::Control, 1).is_ok());
        clock.start();
        assert_eq!(ticks_until_hang(&rig, &mut clock, 600), None);
        assert_eq!(rig.counted(), [0; 4]);
        assert_eq!(rig.fake().health_reads.load(Relaxed), 0);
        // It hides nothing.
        assert!(rig.submit(Node::Control, 1).is_ok());
        clock.start();
        let hang = Some((8, Hang::Timeout(Node::Control)));
        assert_eq!(ticks_until_hang(&rig, &mut clock, 20), hang);
        Ok(())
    }

    #[test]
    fn a_slow_engine_does_not_hang() -> Result {
        let rig = Rig::new()?;
        let _connection = rig.connect()?;
        let mut clock = Clock::new();

        // Three ticks for each packet, and the last one waits for all.
        assert!(rig.command(Node::Control, 8).is_ok());
        clock.start();
        for fence in 1..=8 {
            assert_eq!(ticks_until_hang(&rig, &mut clock, 3), None);
            assert_eq!(rig.complete(1), Ok(Some(fence)));
        }
        assert_eq!(ticks_until_hang(&rig, &mut clock, 10), None);
        assert_eq!(rig.counted()[1..], [0, 8, 0]);
        Ok(())
    }

    #[test]
    fn a_packet_that_all_others_overtake_hangs() -> Result {
        let rig = Rig::new()?;
        let _connection = rig.connect()?;
        let mut clock = Clock::new();
        let complete_newest = || {
            rig.with_control(|queue| {
                let newest = queue.submitted();
                queue.complete(newest);
                Some(())
            })
        };

        assert!(rig.command(Node::Control, 1).is_ok());
        clock.start();
        let mut hang = None;
        for tick in 1..20 {
            rig.beat(&mut clock, 2);
            hang = clock.take_hang().map(|hang| (tick, hang));
            if hang.is_some() {
                break;
            }
            assert!(rig.submit(Node::Control, 1).is_ok());
            assert!(complete_newest().is_ok());
        }
        assert_eq!(hang, Some((8, Hang::Timeout(Node::Control))));
        assert_eq!(rig.counted(), [0; 4]);
        Ok(())
    }

    #[test]
    fn a_reset_is_no_longer_in_the_dark() -> Result {
        let rig = Rig::new()?;
        let _connection = rig.connect()?;
        let mut clock = Clock::new();

        rig.fake().health.store(Health::Reset as u32, Relaxed);
        assert!(rig.command(Node::Control, 1).is_ok());
        clock.start();
        let hang = Some((2, Hang::Reset));
        assert_eq!(ticks_until_hang(&rig, &mut clock, 20), hang);
        // Also when it stands still already.
        rig.fake().health.store(Health::Good as u32, Relaxed);
        assert_eq!(ticks_until_hang(&rig, &mut clock, 3), None);
        assert!(rig.is_stalled());
        rig.fake().health.store(Health::Reset as u32, Relaxed);
        let hang = Some((1, Hang::Reset));
        assert_eq!(ticks_until_hang(&rig, &mut clock, 20), hang);
        Ok(())
    }

    #[test]
    fn an_engine_that_was_emptied_begins_anew() -> Result {
        let rig = Rig::new()?;
        let mut connection = rig.connect()?;
        let mut clock = Clock::new();

        assert!(rig.command(Node::Control, 1).is_ok());
        clock.start();
        assert_eq!(ticks_until_hang(&rig, &mut clock, 7), None);
        assert!(rig.is_stalled());
        let mut states = connection.disconnect();
        scheduler::force_complete(rig.fake(), &mut states, &rig.fake().fences);
        connection.connect(&mut states)?;
        assert!(!rig.is_stalled());
        assert!(rig.command(Node::Control, 1).is_ok());
        let hang = Some((8, Hang::Timeout(Node::Control)));
        assert_eq!(ticks_until_hang(&rig, &mut clock, 20), hang);
        assert_eq!(rig.counted(), [2, 0, 0, 0]);
        Ok(())
    }

    #[test]
    fn a_stopped_device_is_not_stalled() -> Result {
        let rig = Rig::new()?;
        let connection = rig.connect()?;
        let mut clock = Clock::new();

        assert!(rig.command(Node::Control, 1).is_ok());
        clock.start();
        assert!(rig.beat(&mut clock, 6));
        assert!(rig.is_stalled());
        let kicks = rig.fake().kicks.load(Relaxed);
        drop(connection);
        assert!(!rig.beat(&mut clock, 1));
        assert!(!rig.is_stalled());
        assert_eq!(rig.fake().kicks.load(Relaxed), kicks);
        Ok(())
    }
}
