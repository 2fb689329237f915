// SPDX-License-Identifier: GPL-2.0

//! KUnit tests of packets of the render node that are lost, or not executed, and of the clock that
//! runs for those that the device has.

use kernel::{
    prelude::*,
    sync::atomic::Relaxed, //
};

use crate::scheduler::{
    self,
    client::CLIENT_LIMIT,
    submission,
    watchdog::Clock,
    Client,
    Hang,
    Hardware,
    Node, //
};

use super::{
    render::signalled,
    Fake,
    Rig,
    ROOM, //
};

const HANG: Hang = Hang::Timeout(Node::Control);

#[kunit_tests(rust_gpu_render_reset)]
mod suite {
    use super::*;

    #[test]
    fn all_are_lost() -> Result {
        let rig = Rig::new()?;
        let mut connection = rig.connect()?;
        let client = &rig.client;

        // Some are in the engine, one of those ended, and some wait.
        let fences = rig.render_some(client, 2 * ROOM)?;
        assert!(rig.end_one(2, Err(ENODATA)));
        assert!(rig.submit(Node::Software, 1).is_ok());
        let (_, id) = rig.ids(Node::Render)?;
        assert_eq!(rig.reset(&mut connection, Hang::Broken), Ok(false));

        assert_eq!(signalled(&fences), 2 * ROOM);
        for (index, fence) in fences.iter().enumerate() {
            let expected = if index == 1 { ENODATA } else { ECANCELED };
            assert_eq!(fence.error(), Some(expected));
        }
        assert_eq!(rig.ids(Node::Render), Ok((id, id)));
        assert_eq!(rig.in_engine(), [0, 0]);
        assert_eq!(rig.waiting(), Ok(0));
        assert_eq!(rig.outcome(client, Node::Render, 1), Err(ECANCELED));
        let last = 2 * ROOM as u64;
        assert_eq!(rig.outcome(client, Node::Render, last), Err(ECANCELED));
        assert_eq!(rig.outcome(client, Node::Software, 1), Ok(()));
        assert_eq!(client.reserve(u32::MAX), CLIENT_LIMIT);
        client.give_back(CLIENT_LIMIT);

        // It goes on with new ones.
        let fence = rig.render(client)?;
        assert_eq!(fence.seqno(), last + 1);
        assert!(rig.end(1));
        assert_eq!(fence.status(), Some(Ok(())));
        assert_eq!(rig.outcome(client, Node::Render, last + 1), Ok(()));
        Ok(())
    }

    #[test]
    fn the_guilty_one_is_told() -> Result {
        let rig = Rig::new()?;
        let mut connection = rig.connect()?;
        let [guilty, other] = [Client::new()?, Client::new()?];

        // An open one that was answered, the suspects, and what is behind them.
        let innocent = rig.render(&other)?;
        let suspect = rig.render(&guilty)?;
        rig.render_bounded(&guilty)?;
        let behind = rig.render(&guilty)?;
        let its = rig.render(&other)?;
        assert!(rig.submit_for(&other, Node::Control, 1).is_ok());
        assert!(rig.end_one(1, Ok(())));
        assert_eq!(rig.reset(&mut connection, HANG), Ok(true));

        assert!(guilty.is_guilty() && !other.is_guilty());
        assert_eq!(innocent.status(), Some(Ok(())));
        assert_eq!(suspect.error(), Some(ETIME));
        assert_eq!(behind.error(), Some(ECANCELED));
        assert_eq!(its.error(), Some(ECANCELED));
        assert_eq!(rig.promise(&guilty).err(), Some(EIO));
        assert!(rig.promise(&other).is_ok());
        Ok(())
    }

    #[test]
    fn both_nodes_are_searched() -> Result {
        let rig = Rig::new()?;
        let mut connection = rig.connect()?;
        let [one, other] = [Client::new()?, Client::new()?];

        // The null packet is the oldest bounded one, and an open one of another file is older.
        let fence = rig.render(&one)?;
        assert!(rig.submit_for(&other, Node::Control, 1).is_ok());
        assert_eq!(rig.reset(&mut connection, HANG), Ok(false));
        assert_eq!(fence.error(), Some(ECANCELED));
        // Both of one file.
        let fence = rig.render(&one)?;
        assert!(rig.submit_for(&one, Node::Control, 1).is_ok());
        assert_eq!(rig.reset(&mut connection, HANG), Ok(true));
        assert_eq!(fence.error(), Some(ETIME));
        assert!(one.is_guilty() && !other.is_guilty());
        // An answer of the render node clears what is older.
        let (fence, file) = (rig.render(&other)?, Client::new()?);
        rig.render_bounded(&other)?;
        assert!(rig.submit_for(&file, Node::Control, 1).is_ok());
        let (_, id) = rig.ids(Node::Render)?;
        assert!(rig.end_one(id, Ok(())));
        assert_eq!(rig.reset(&mut connection, HANG), Ok(true));
        assert_eq!(fence.error(), Some(ECANCELED));
        assert!(file.is_guilty() && !other.is_guilty());
        Ok(())
    }

    #[test]
    fn a_file_is_closed() -> Result {
        let rig = Rig::new()?;
        let _connection = rig.connect()?;
        let client = Client::new()?;

        let fences = rig.render_some(&client, 2 * ROOM)?;
        let [_, published] = rig.in_engine();
        rig.fake().fences.close(&client);
        submission::run_submission(&rig.adapter);
        assert_eq!(rig.waiting(), Ok(0));
        // Nothing of a timeline is signalled before what is older.
        assert_eq!(signalled(&fences), 0);
        assert!(rig.end(published - 1));
        assert_eq!(signalled(&fences), published - 1);
        submission::run_submission(&rig.adapter);
        assert!(rig.end(1));
        assert_eq!(signalled(&fences), 2 * ROOM);
        for (index, fence) in fences.iter().enumerate() {
            let expected = (index >= published).then_some(ECANCELED);
            assert_eq!(fence.error(), expected);
        }
        assert_eq!(client.reserve(u32::MAX), CLIENT_LIMIT);
        Ok(())
    }

    #[test]
    fn nobody_waits_for_a_device_that_goes() -> Result {
        let rig = Rig::new()?;
        let _connection = rig.connect()?;
        let fences = rig.render_some(&rig.client, 2 * ROOM)?;
        let [_, published] = rig.in_engine();

        let promise = rig.promise(&rig.client)?;
        assert!(rig.end_one(2, Ok(())));
        scheduler::cancel_render(&rig.adapter);
        assert_eq!(signalled(&fences), 2 * ROOM);
        for (index, fence) in fences.iter().enumerate() {
            let expected = (index != 1).then_some(ECANCELED);
            assert_eq!(fence.error(), expected);
        }
        assert_eq!(rig.keep(promise, true).err(), Some(EIO));
        // The device still has packets. Their answers do nothing any more.
        assert_eq!(rig.in_engine(), [0, published - 1]);
        assert_eq!(rig.client.reserve(u32::MAX), CLIENT_LIMIT);
        rig.client.give_back(CLIENT_LIMIT);
        let fence = rig.render(&rig.client)?;
        assert!(rig.end(published - 1));
        assert_eq!(rig.client.completed(Node::Render), 2 * ROOM as u64);
        submission::run_submission(&rig.adapter);
        assert!(!fence.is_signaled());
        assert!(rig.end(1));
        assert_eq!(fence.status(), Some(Ok(())));
        assert_eq!(rig.client.reserve(u32::MAX), CLIENT_LIMIT);
        Ok(())
    }

    /// Lets so many ticks pass. Returns how many beats the last one asked for.
    fn ticks(rig: &Rig, clock: &mut Clock, count: u32) -> Option<u32> {
        let mut next = None;
        for _ in 0..count {
            let mut beats = 0;
            while beats < 2 {
                next = clock.beat(&rig.adapter, &rig.fake().fences);
                beats += next?;
            }
        }
        next
    }

    #[test]
    fn a_device_with_open_packets_only_is_probed() -> Result {
        let rig = Rig::new()?;
        let _connection = rig.connect()?;
        let mut clock = Clock::new();
        let fence = rig.render(&rig.client)?;

        clock.start();
        assert!(ticks(&rig, &mut clock, 5).is_some());
        assert_eq!(rig.in_engine(), [1, 1]);
        // Only one at a time.
        assert!(ticks(&rig, &mut clock, 1).is_some());
        assert_eq!(rig.in_engine(), [1, 1]);
        // It is answered, and the next ones come later and later, up to a minute.
        let mut beats = 0;
        for _ in 0..10 {
            assert!(rig.complete(1)?.is_some());
            let (mut looks, before) = (0, beats);
            while rig.in_engine() == [0, 1] {
                beats = beats.max(ticks(&rig, &mut clock, 1).ok_or(EINVAL)?);
                looks += 1;
                assert!(looks <= 6);
            }
            assert!(beats > before || beats == 60);
        }
        assert_eq!(beats, 60);
        assert_eq!(rig.fake().watchdog.counters().stalls.load(Relaxed), 0);
        // A client that submits meanwhile is not kept waiting.
        assert!(rig.complete(1)?.is_some());
        assert!(ticks(&rig, &mut clock, 1).is_some());
        rig.fake().watchdog.take_start();
        assert!(ticks(&rig, &mut clock, 1).is_some());
        rig.render_bounded(&rig.client)?;
        assert!(rig.fake().watchdog.take_start());
        assert!(rig.end_one(2, Ok(())));
        assert!(rig.end_one(1, Ok(())) && fence.is_signaled());
        while ticks(&rig, &mut clock, 1).is_some() {}
        assert!(clock.take_hang().is_none());
        Ok(())
    }

    #[test]
    fn a_device_that_does_not_answer_hangs() -> Result {
        let rig = Rig::new()?;
        let _connection = rig.connect()?;
        let mut clock = Clock::new();

        // A probe that is not answered.
        let fence = rig.render(&rig.client)?;
        clock.start();
        assert!(ticks(&rig, &mut clock, 11).is_some());
        assert!(clock.take_hang().is_none());
        assert!(ticks(&rig, &mut clock, 1).is_some());
        assert_eq!(clock.take_hang(), Some(HANG));
        assert!(!fence.is_signaled());
        assert!(rig.end(1) && fence.is_signaled());
        Ok(())
    }

    #[test]
    fn nobody_waits_for_what_a_file_has_left() -> Result {
        let rig = Rig::new()?;
        let _connection = rig.connect()?;
        let mut clock = Clock::new();
        let (gone, other) = (Client::new()?, Client::new()?);

        let fences = rig.render_some(&gone, 2)?;
        let its = rig.render(&other)?;
        // Held back for the first one.
        assert!(rig.end_one(2, Err(ENODATA)));
        rig.fake().fences.close(&gone);
        scheduler::disown(&rig.adapter, &gone);
        assert_eq!(fences[0].error(), Some(ECANCELED));
        assert_eq!(fences[1].error(), Some(ENODATA));
        // The place is that of the packet, for which no clock runs.
        assert_eq!(gone.reserve(u32::MAX), CLIENT_LIMIT - 1);
        gone.give_back(CLIENT_LIMIT - 1);
        clock.start();
        assert!(ticks(&rig, &mut clock, 4).is_some());
        assert!(!rig.fake().fences.is_stalled() && !its.is_signaled());
        assert!(rig.end_one(1, Ok(())));
        assert_eq!(gone.reserve(u32::MAX), CLIENT_LIMIT);
        assert!(rig.end_one(3, Ok(())) && its.is_signaled());
        while ticks(&rig, &mut clock, 1).is_some() {
            let _ = rig.complete(1)?;
        }
        assert!(clock.take_hang().is_none());
        Ok(())
    }

    #[test]
    fn the_clock_runs_if_files_leave_too_much() -> Result {
        let rig = Rig::new()?;
        let _connection = rig.connect()?;
        let mut clock = Clock::new();

        for _ in 0..2 {
            let gone = Client::new()?;
            rig.render(&gone)?;
            rig.fake().fences.close(&gone);
            scheduler::disown(&rig.adapter, &gone);
        }
        let its = rig.render(&rig.client)?;
        clock.start();
        assert!(ticks(&rig, &mut clock, 8).is_some());
        assert_eq!(clock.take_hang(), Some(HANG));
        assert!(rig.end(2));
        // Nor does it hang at what is open.
        assert!(ticks(&rig, &mut clock, 2).is_some());
        assert!(clock.take_hang().is_none());
        assert!(rig.end(1) && its.is_signaled());
        Ok(())
    }

    #[test]
    fn the_clock_runs_for_bounded_packets() -> Result {
        let rig = Rig::new()?;
        let _connection = rig.connect()?;
        let mut clock = Clock::new();

        rig.render_bounded(&rig.client)?;
        clock.start();
        assert!(ticks(&rig, &mut clock, 3).is_some());
        assert!(rig.fake().fences.is_stalled());
        assert!(rig.end(1));
        let stalled = rig.adapter.synchronize_execution(0, |state| {
            Fake::node(state, Node::Control).map(|queue| queue.is_stalled())
        });
        assert_eq!(stalled, Ok(Some(false)));
        assert!(ticks(&rig, &mut clock, 1).is_none());
        rig.render_bounded(&rig.client)?;
        clock.start();
        assert!(ticks(&rig, &mut clock, 10).is_some());
        assert_eq!(clock.take_hang(), Some(HANG));
        Ok(())
    }
}
