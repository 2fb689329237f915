// SPDX-License-Identifier: GPL-2.0

//! KUnit test of what a reset leaves.

use kernel::prelude::*;

use crate::scheduler::{
    self,
    client::CLIENT_LIMIT,
    submission,
    Hardware,
    Node, //
};
#[cfg(CONFIG_DRM_RUST_GPU_RENDER)]
use crate::{
    irq::Status,
    scheduler::{
        Fifo,
        Interrupt, //
    },
};

#[cfg(CONFIG_DRM_RUST_GPU_RENDER)]
use super::FakePacket;
use super::{
    Fake,
    Rig,
    CLIENTS,
    ROOM, //
};

#[kunit_tests(rust_gpu_reset)]
mod suite {
    use super::*;

    #[test]
    #[cfg(CONFIG_DRM_RUST_GPU_RENDER)]
    fn what_is_about_something_lost_is_not_taken() -> Result {
        let rig = Rig::new()?;
        let _connection = rig.connect()?;
        let (node, lost) = (Node::Control, Err(Status::Unsuccessful));
        let command = || FakePacket::Command;
        let mut batch = Fifo::new(2)?;
        batch.push(command()).map_err(|_| EINVAL)?;
        let mut send = |is_lost| {
            let wanted = Interrupt::Wanted;
            let sent =
                scheduler::submit_batch_unless(&rig.adapter, node, &mut batch, wanted, || is_lost);
            (sent, batch.len())
        };
        let one = |is_lost| {
            let sent = scheduler::submit_unless(&rig.adapter, node, command(), || is_lost);
            sent.map(|taken| taken.is_ok())
        };
        let in_round = |is_lost| {
            let sent = scheduler::submit_in_round(&rig.adapter, node, command(), || is_lost);
            sent.map(|taken| taken.is_ok())
        };

        assert_eq!((one(true), in_round(true)), (lost, lost));
        assert_eq!(send(true), (Err(Status::Unsuccessful), 1));
        assert_eq!(rig.progress(node)?.submitted, 0);
        assert_eq!((one(false), in_round(false)), (Ok(true), Ok(true)));
        assert_eq!(send(false), (Ok(()), 0));
        assert_eq!(rig.progress(node)?.submitted, 3);
        Ok(())
    }

    #[test]
    fn lost_packets_are_complete_and_ids_go_on() -> Result {
        let rig = Rig::new()?;
        let mut connection = rig.connect()?;
        let fences = &rig.fake().fences;
        let wait = |ticket| fences.wait(&rig.client, Node::Control, ticket, 0);

        // Some are in the engine, some are staged; none of them is reported.
        let count = 2 * ROOM as u64;
        let lost = CLIENTS as u64;
        assert_eq!(
            rig.submit(Node::Control, count as u32),
            Ok((count as u32, count))
        );
        assert!(rig.submit(Node::Software, 1).is_ok());
        let mut states = connection.disconnect();
        scheduler::force_complete(rig.fake(), &mut states, fences);
        assert_eq!(fences.completed(Node::Control), count);
        assert_eq!(fences.completed(Node::Cursor), 0);
        assert!(scheduler::query_current_fence(&rig.adapter, Node::Control).is_err());
        assert_eq!(
            [1, lost, lost + 1].map(wait),
            [Err(ECANCELED), Err(ECANCELED), Err(ETIME)]
        );

        let state = states.get_mut(0).ok_or(EINVAL)?;
        assert_eq!(
            Fake::notify(state).map(|n| n.completed()[Node::Control]),
            Some(count)
        );
        let queue = Fake::node(state, Node::Control).ok_or(EINVAL)?;
        scheduler::cancel_pending::<Fake>(queue);
        assert_eq!(queue.queued() as u64, count - lost);
        assert_eq!(queue.in_flight(), 0);
        let taken = &mut queue.engine.as_mut().ok_or(EINVAL)?.taken;
        while taken.pop().is_some() {}

        // What was not in the engine goes on in its order, with new ids.
        connection.connect(&mut states)?;
        submission::run_submission(&rig.adapter);
        assert_eq!(rig.ids(Node::Control), Ok((count, 2 * count - lost)));
        assert_eq!(rig.complete(1), Ok(Some(count + 1)));
        assert_eq!([lost + 1, lost + 2].map(wait), [Ok(()), Err(ETIME)]);
        assert_eq!(wait(1), Err(ECANCELED));
        assert_eq!(rig.ids(Node::Software), Ok((1, 1)));
        while let Ok(Some(_)) = rig.complete(1) {
            submission::run_submission(&rig.adapter);
        }
        assert_eq!(wait(count), Ok(()));
        assert_eq!(rig.client.reserve(u32::MAX), CLIENT_LIMIT);
        Ok(())
    }
}
