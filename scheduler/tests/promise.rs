// SPDX-License-Identifier: GPL-2.0

//! KUnit tests of promises: how many there are, and when they are of no use any more.

use kernel::prelude::*;

use crate::scheduler::{
    client::{
        CLIENT_BYTES,
        CLIENT_LIMIT, //
    },
    context::PLACES,
    submission,
    Client,
    Hang,
    Hardware,
    Lack,
    Node,
    Promise, //
};

use super::{
    render::signalled,
    Fake,
    Rig, //
};

#[kunit_tests(rust_gpu_promise)]
mod suite {
    use super::*;

    #[test]
    fn a_client_has_so_many() -> Result {
        let rig = Rig::new()?;
        let _connection = rig.connect()?;
        let mut promises = KVec::new();

        // Null packets count too.
        assert_eq!(rig.submit(Node::Software, 6), Ok((6, 6)));
        for _ in 6..CLIENT_LIMIT {
            promises.push(rig.promise(&rig.client)?, GFP_KERNEL)?;
        }
        assert_eq!(rig.promise(&rig.client).err(), Some(EBUSY));
        assert_eq!(rig.client.reserve(1), 0);
        submission::run_submission(&rig.adapter);
        for _ in 0..6 {
            promises.push(rig.promise(&rig.client)?, GFP_KERNEL)?;
        }
        assert_eq!(rig.promise(&rig.client).err(), Some(EBUSY));

        // One that is kept, and one that is dropped.
        let kept = promises.pop().ok_or(EINVAL)?;
        let fence = rig.keep(kept, true)?.fence.ok_or(EINVAL)?;
        assert_eq!(rig.promise(&rig.client).err(), Some(EBUSY));
        let mark = rig.fake().fences.generation();
        drop(promises.pop());
        // Callers that wait for room look again.
        assert!(rig.fake().fences.generation() != mark);
        promises.push(rig.promise(&rig.client)?, GFP_KERNEL)?;
        assert!(rig.end(1) && fence.is_signaled());
        promises.push(rig.promise(&rig.client)?, GFP_KERNEL)?;

        // None of them can fail.
        let mut fences = KVec::new();
        for promise in promises {
            fences.push(rig.keep(promise, true)?.fence.ok_or(EINVAL)?, GFP_KERNEL)?;
        }
        assert_eq!(fences.len(), CLIENT_LIMIT as usize);
        while rig.progress(Node::Render)?.is_busy() {
            assert!(rig.end(1));
            submission::run_submission(&rig.adapter);
        }
        assert_eq!(signalled(&fences), CLIENT_LIMIT as usize);
        assert_eq!(rig.client.reserve(u32::MAX), CLIENT_LIMIT);
        assert_eq!(rig.client.promised(), 0);
        assert_eq!(rig.fake().fences.promised(), (0, 0));
        Ok(())
    }

    #[test]
    fn the_places_of_the_node_are_shared() -> Result {
        let rig = Rig::new()?;
        let _connection = rig.connect()?;
        let files = [Client::new()?, Client::new()?, Client::new()?];
        let (mut promises, mut counts) = (KVec::new(), [0; 3]);

        for (file, count) in files.iter().zip(&mut counts) {
            while let Ok(promise) = Promise::to_wait(&rig.adapter, file, 0)? {
                promises.push(promise, GFP_KERNEL)?;
                *count += 1;
            }
            // Whoever is refused wakes nobody, and not itself.
            let mark = rig.fake().fences.generation();
            assert!(Promise::to_wait(&rig.adapter, file, 1)?.is_err());
            assert_eq!(rig.fake().fences.generation(), mark);
        }
        assert_eq!(rig.fake().fences.promised(), (promises.len(), 3));
        assert!(promises.len() <= PLACES);
        assert!(counts.iter().all(|count| *count != 0));
        // All of them are kept, in any order.
        while let Some(promise) = promises.pop() {
            rig.keep(promise, promises.len() % 3 != 0)?;
        }
        while rig.progress(Node::Render)?.is_busy() {
            assert!(rig.end(1));
            submission::run_submission(&rig.adapter);
        }
        for file in files {
            assert_eq!(file.reserve(u32::MAX), CLIENT_LIMIT);
        }
        Ok(())
    }

    #[test]
    fn bytes_are_bounded() -> Result {
        let rig = Rig::new()?;
        let _connection = rig.connect()?;
        let promise = |bytes| Promise::new(&rig.adapter, &rig.client, bytes);

        let mut half = promise(CLIENT_BYTES / 2)?.map_err(|_| EBUSY)?;
        let rest = promise(CLIENT_BYTES / 2)?.map_err(|_| EBUSY)?;
        let mark = rig.fake().fences.generation();
        assert_eq!(promise(1)?.err(), Some(Lack::Own));
        assert_eq!(rig.fake().fences.generation(), mark);
        // Packets without any go on, and all are given back.
        drop(promise(0)?.map_err(|_| EBUSY)?);
        let mark = rig.client.given_back();
        drop(rest);
        assert!(rig.client.given_back() != mark);
        let last = promise(1)?.map_err(|_| EBUSY)?;
        // As long as they are in memory.
        let bytes = half.take_bytes().ok_or(EINVAL)?;
        assert!(half.take_bytes().is_none());
        rig.keep(half, false)?;
        assert!(rig.end(1));
        assert!(promise(CLIENT_BYTES / 2)?.is_err());
        drop(bytes);
        drop(last);
        // One alone may have more.
        let large = promise(CLIENT_BYTES + 1)?.map_err(|_| EBUSY)?;
        assert!(promise(1)?.is_err());
        drop(large);
        assert!(promise(CLIENT_BYTES)?.is_ok());
        Ok(())
    }

    #[test]
    fn who_has_enough_waits_for_its_own() -> Result {
        let rig = Rig::new()?;
        let _connection = rig.connect()?;
        let (other, mut promises) = (Client::new()?, KVec::new());

        let fence = rig.render(&rig.client)?;
        let last = loop {
            match Promise::new(&rig.adapter, &rig.client, 0)? {
                Ok(promise) => promises.push(promise, GFP_KERNEL)?,
                Err(lack) => break lack,
            }
        };
        assert_eq!(last, Lack::Own);
        let starved = || {
            rig.adapter.synchronize_execution(0, |state| {
                Fake::node(state, Node::Render).is_some_and(|queue| queue.take_starved())
            })
        };
        rig.render_bounded(&other)?;
        rig.client.starve();
        let mark = rig.client.given_back();
        assert!(rig.end_one(2, Ok(())));
        assert_eq!(other.completed(Node::Render), 1);
        assert_eq!((rig.client.given_back(), starved()), (mark, Ok(false)));
        assert!(rig.end(1) && fence.is_signaled());
        assert!(rig.client.given_back() != mark);
        assert_eq!((starved(), starved()), (Ok(true), Ok(false)));
        rig.client.end_starving();

        // What is over when the caller comes is not waited for, nor is it for ever.
        let fences = &rig.fake().fences;
        assert_eq!(fences.wait_given_back(&rig.client, mark), Ok(()));
        assert_eq!(
            fences.wait_given_back(&rig.client, rig.client.given_back()),
            Ok(())
        );
        assert!(!rig.client.is_starved());
        fences.wedge();
        assert_eq!(
            fences.wait_given_back(&rig.client, rig.client.given_back()),
            Err(EIO)
        );
        Ok(())
    }

    #[test]
    fn a_reset_breaks_them() -> Result {
        let rig = Rig::new()?;
        let mut connection = rig.connect()?;
        let promise = rig.promise(&rig.client)?;
        let before = promise.terms().1;

        assert_eq!(rig.reset(&mut connection, Hang::Reset), Ok(false));
        assert_eq!(rig.keep(promise, true).err(), Some(EIO));
        assert_eq!(rig.client.reserve(u32::MAX), CLIENT_LIMIT);
        rig.client.give_back(CLIENT_LIMIT);
        assert_eq!(rig.in_engine(), [0, 0]);
        let promise = rig.promise(&rig.client)?;
        assert!(promise.terms().1 != before);
        let fence = rig.keep(promise, true)?.fence.ok_or(EINVAL)?;
        // The refused one had no number.
        assert_eq!(fence.seqno(), 1);
        assert!(rig.end(1) && fence.is_signaled());
        Ok(())
    }

    #[test]
    fn a_device_that_is_stopped_is_waited_for() -> Result {
        let rig = Rig::new()?;
        let mut connection = rig.connect()?;
        let promise = rig.promise(&rig.client)?;
        let fences = &rig.fake().fences;

        let mut states = connection.disconnect();
        assert_eq!(rig.promise(&rig.client).err(), Some(EBUSY));
        assert_eq!(rig.keep(promise, true).err(), Some(EIO));
        connection.connect(&mut states)?;
        let promise = rig.promise(&rig.client)?;

        // One that is broken, or gone, is not.
        fences.wedge();
        assert_eq!(rig.promise(&rig.client).err(), Some(EIO));
        assert_eq!(rig.keep(promise, true).err(), Some(EIO));
        fences.unwedge();
        let promise = rig.promise(&rig.client)?;
        fences.unplug();
        assert_eq!(rig.promise(&rig.client).err(), Some(ENODEV));
        assert_eq!(rig.keep(promise, true).err(), Some(ENODEV));
        assert_eq!(rig.client.reserve(u32::MAX), CLIENT_LIMIT);
        assert_eq!(rig.in_engine(), [0, 0]);
        Ok(())
    }
}
