// SPDX-License-Identifier: GPL-2.0

//! Tests of fences: when the GPU is done, and with what.

use super::*;
use crate::front::{
    FEATURE_CONTEXT_INIT,
    FEATURE_VIRGL, //
};

const CREATE_3D: u32 = 0x204;
const CTX_CREATE: u32 = 0x200;
const CTX_DESTROY: u32 = 0x201;
const CTX_ATTACH: u32 = 0x202;
const SUBMIT: u32 = 0x207;
const FENCE: u32 = 1;
const RING: u32 = 2;
const BUSY: u32 = u32::from_le_bytes(*b"BUSY");
const FAIL: u32 = u32::from_le_bytes(*b"FAIL");
const INVALID_CONTEXT: u32 = 0x1204;

/// A driver with contexts 1, called a, and 2, called b.
struct Client {
    driver: Driver,
    fence: u32,
    /// Commands whose answers were looked at.
    seen: usize,
}

impl Client {
    fn new() -> Self {
        let features = FEATURE_VIRGL | FEATURE_CONTEXT_INIT;
        let mut client = Self {
            driver: Driver::of(device(&["--virgl"]), features),
            fence: 0,
            seen: 0,
        };
        for id in 1..=2 {
            client.create(id);
        }
        assert_eq!(client.answers().len(), 2);
        client
    }

    fn create(&mut self, id: u32) {
        let mut fields = vec![1, 0, 0x60 + id];
        fields.resize(18, 0);
        self.driver
            .push_header([CTX_CREATE, 0, 0, 0, id, 0], &fields);
        self.driver.kick();
    }

    /// Submits a stream with a fence.
    fn submit(&mut self, context: u32, ring: Option<u32>, stream: &[u32]) {
        let flags = FENCE | ring.map_or(0, |_| RING);
        self.fence += 1;
        let header = [SUBMIT, flags, self.fence, 0, context, ring.unwrap_or(0)];
        let size = 4 * stream.len() as u32;
        self.driver
            .push_header(header, &[&[size, 0], stream].concat());
        self.driver.kick();
    }

    fn destroy(&mut self, context: u32) {
        self.driver
            .push_header([CTX_DESTROY, 0, 0, 0, context, 0], &[]);
        self.driver.kick();
    }

    /// What was answered since the last call: fence, context and type of each.
    fn answers(&mut self) -> Vec<(u32, u32, u32)> {
        self.driver.turn();
        let used = self.driver.used();
        let words = |slot: u32| {
            let at = ANSWERS + SLOT * u64::from(slot);
            [8, 16, 0].map(|field| u32::from_le_bytes(self.driver.get(at + field)))
        };
        let answers = used[self.seen..].iter().map(|slot| words(*slot).into());
        let answers = answers.collect();
        self.seen = used.len();
        answers
    }

    fn later(&mut self, milliseconds: u64) {
        self.driver.now += Duration::from_millis(milliseconds);
    }

    fn strays(&self) -> u64 {
        lock(&self.driver.shared.gpu).render.counts.strays
    }
}

#[test]
fn the_gpu_is_done_at_once() {
    let mut client = Client::new();
    client.submit(1, None, &[]);
    client.submit(1, Some(3), &[7]);
    assert_eq!(client.answers(), [(1, 1, OK_NODATA), (2, 1, OK_NODATA)]);
    let told = lock(&client.driver.shared.gpu).render.describe("a");
    assert!(told.unwrap().contains(" submissions=2 on-rings=1 "));
    assert_eq!(client.strays(), 0);
    assert!(client.driver.is_sound());
}

#[test]
fn a_held_fence_holds_its_timeline_only() {
    let mut client = Client::new();
    client.driver.ask("device hold a");
    client.submit(1, None, &[]);
    client.driver.ask("device behave");
    client.submit(1, None, &[]);
    client.submit(1, Some(0), &[]);
    client.submit(2, None, &[]);
    assert_eq!(client.answers(), [(3, 1, OK_NODATA), (4, 2, OK_NODATA)]);
    assert_eq!(lock(&client.driver.shared.front).counts.late, 2);
    client.driver.ask("device release");
    assert_eq!(client.answers(), [(1, 1, OK_NODATA), (2, 1, OK_NODATA)]);
    client.submit(1, None, &[]);
    assert_eq!(client.answers(), [(5, 1, OK_NODATA)]);
}

#[test]
fn a_fence_may_be_held_for_a_time() {
    let mut client = Client::new();
    client.driver.ask("device hold any 30");
    client.submit(2, None, &[]);
    assert_eq!(
        client.driver.turn(),
        Some(client.driver.now + Duration::from_millis(30))
    );
    assert_eq!(client.answers(), []);
    client.later(30);
    assert_eq!(client.answers(), [(1, 2, OK_NODATA)]);
}

#[test]
fn the_gpu_may_be_busy() {
    let mut client = Client::new();
    client.submit(1, None, &[BUSY, 50]);
    client.submit(1, None, &[]);
    client.submit(2, None, &[BUSY, 20]);
    client.later(20);
    assert_eq!(client.answers(), [(3, 2, OK_NODATA)]);
    // A late one does not keep the device awake.
    assert_eq!(
        client.driver.turn(),
        Some(client.driver.now + Duration::from_millis(30))
    );
    client.later(30);
    assert_eq!(client.answers(), [(1, 1, OK_NODATA), (2, 1, OK_NODATA)]);
}

#[test]
fn an_error_goes_ahead_of_fences() {
    let mut client = Client::new();
    client.driver.ask("device hold a");
    client.submit(1, None, &[]);
    client.submit(1, None, &[FAIL, 0x1205]);
    client.submit(3, None, &[]);
    assert_eq!(client.answers(), [(2, 1, 0x1205), (3, 3, INVALID_CONTEXT)]);
    assert_eq!(client.strays(), 1);
    client.driver.ask("device resume");
    assert_eq!(client.answers(), [(1, 1, OK_NODATA)]);
}

#[test]
fn fences_may_end_in_the_wrong_order() {
    let mut client = Client::new();
    client.driver.ask("device hold any");
    client.submit(1, None, &[]);
    client.submit(1, None, &[]);
    client.submit(2, None, &[]);
    assert_eq!(client.answers(), []);
    client.driver.ask("device release-backwards");
    let order: Vec<_> = client.answers().iter().map(|answer| answer.0).collect();
    assert_eq!(order, [3, 2, 1]);
}

#[test]
fn an_answer_may_name_another_fence_or_context() {
    let mut client = Client::new();
    client.driver.ask("device wrong-fence submit");
    client.submit(1, None, &[]);
    client.driver.ask("device wrong-context submit 2");
    client.submit(1, None, &[]);
    client.submit(1, None, &[]);
    assert_eq!(
        client.answers(),
        [(2, 1, OK_NODATA), (2, 1, OK_NODATA), (3, 2, OK_NODATA)]
    );
    assert_eq!(client.strays(), 0);
}

#[test]
fn an_answer_may_say_that_it_is_too_long() {
    let mut client = Client::new();
    client.driver.ask("device wrong-length submit");
    client.submit(1, None, &[]);
    assert_eq!(client.answers(), [(1, 1, OK_NODATA)]);
    let length = client.driver.get(USED + 4 + 8 * 2 + 4);
    assert_eq!(u32::from_le_bytes(length), u32::MAX);
}

#[test]
fn the_end_of_a_context_ends_its_fences() {
    for (request, rest) in [("device hold a", 1), ("device keep a", 0)] {
        let mut client = Client::new();
        client.driver.ask(request);
        client.submit(1, None, &[]);
        client.destroy(1);
        let kinds: Vec<_> = client.answers().iter().map(|answer| answer.0).collect();
        assert_eq!(kinds, [0, 1][..1 + rest], "{request}");
        // Another one of that name is not held by what is gone.
        client.driver.ask("device behave");
        client.create(1);
        client.submit(2, None, &[]);
        assert_eq!(client.answers().len(), 2);
        client.driver.ask("device resume");
        assert_eq!(client.answers().len(), 1 - rest, "{request}");
        assert_eq!(client.strays(), 0);
    }
}

#[test]
fn the_end_of_a_context_may_never_be_answered() {
    let mut client = Client::new();
    client.driver.ask("device never ctx-destroy");
    client.destroy(1);
    assert_eq!(client.answers(), []);
    assert_eq!(lock(&client.driver.shared.gpu).render.held(), (1, 0));
}

#[test]
fn fences_have_growing_numbers() {
    let mut client = Client::new();
    client.fence = 4;
    client.submit(1, None, &[]);
    assert_eq!(client.strays(), 0);
    client.fence = 4;
    client.submit(1, None, &[]);
    assert_eq!(client.strays(), 1);
    client
        .driver
        .push_header([SUBMIT, FENCE, 6, 1, 1, 0], &[0, 0]);
    client.driver.kick();
    assert_eq!(client.strays(), 2);
}

#[test]
fn what_was_refused_may_be_named() {
    let mut client = Client::new();
    client.driver.ask("device refuse create-3d 0x1205");
    client
        .driver
        .push(CREATE_3D, &[9, 2, 1, 0, 4, 4, 1, 1, 0, 0, 0, 0]);
    client.driver.kick();
    client
        .driver
        .push_header([CTX_ATTACH, 0, 0, 0, 1, 0], &[9, 0]);
    client.driver.kick();
    client.driver.push(UNREF, &[9, 0]);
    client.driver.kick();
    assert_eq!(client.strays(), 0);
    client.driver.push(UNREF, &[9, 0]);
    client.driver.kick();
    assert_eq!(client.strays(), 1);
}

#[test]
fn a_reset_ends_all_contexts() {
    let mut client = Client::new();
    client.driver.ask("device hold any");
    client.submit(1, None, &[]);
    client.driver.ask("device reset");
    client.driver.turn();
    let counts = lock(&client.driver.shared.gpu).render.counts;
    assert_eq!((counts.contexts_made, counts.contexts_lost), (2, 2));
    client.driver.start(FEATURE_VIRGL | FEATURE_CONTEXT_INIT);
    client.seen = 0;
    client.driver.ask("device behave");
    client.submit(1, None, &[]);
    assert_eq!(client.answers(), [(2, 1, INVALID_CONTEXT)]);
    assert_eq!(client.strays(), 1);
}

#[test]
fn without_the_feature_there_is_no_3d() {
    let mut driver = Driver::of(device(&["--virgl"]), 0);
    driver.push_header([CTX_DESTROY, FENCE, 1, 0, 1, 0], &[]);
    driver.kick();
    assert_eq!((driver.used(), driver.answer(0)), (vec![0], 0x1200));
    assert_eq!(lock(&driver.shared.gpu).render.counts.strays, 0);
}
