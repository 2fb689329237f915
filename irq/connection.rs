// SPDX-License-Identifier: GPL-2.0

//! [`Connection`] requests the interrupts of an adapter, connects them to the states of its
//! messages, and frees them.

use kernel::{
    irq::{
        self,
        Flags,
        IrqRequest,
        IrqReturn,
        Registration,
        ThreadedHandler,
        ThreadedIrqReturn,
        ThreadedRegistration, //
    },
    prelude::*,
    sync::Arc, //
};

use super::{
    Adapter,
    Miniport,
    Phase, //
};

/// The handler of one message.
struct Handler<M: Miniport> {
    adapter: Arc<Adapter<M>>,
    message: u32,
}

/// For every message but the DPC's: there is no thread to wake.
impl<M: Miniport> irq::Handler for Handler<M> {
    fn handle(&self) -> IrqReturn {
        match self.adapter.handle(self.message) {
            ThreadedIrqReturn::None => IrqReturn::None,
            _ => IrqReturn::Handled,
        }
    }
}

/// For the DPC's message, whose thread runs the DPC.
impl<M: Miniport> ThreadedHandler for Handler<M> {
    fn handle(&self) -> ThreadedIrqReturn {
        self.adapter.handle(self.message)
    }

    fn handle_threaded(&self) -> IrqReturn {
        self.adapter.run_dpc();
        IrqReturn::Handled
    }
}

/// The connected interrupts of an adapter.
///
/// Ends in two steps, so that the device can be reset between them:
///
/// - [`Connection::disconnect`]: from its start callers of [`Adapter::synchronize_execution`] get
///   [`Status::Unsuccessful`](super::Status::Unsuccessful), and line interrupts are only
///   acknowledged.
/// - Drop: makes the handlers quiet, waits for those that run, and frees the interrupts.
///
/// Context of the drop: process, not the DPC, for which it waits.
pub(crate) struct Connection<'a, M: Miniport + 'a> {
    adapter: Arc<Adapter<M>>,
    dpc: Option<Pin<KBox<ThreadedRegistration<'a, Handler<M>>>>>,
    others: KVec<Pin<KBox<Registration<'a, Handler<M>>>>>,
    /// Room for the states, so that disconnecting needs no memory.
    states: KVec<M::State>,
}

impl<'a, M: Miniport + 'a> Connection<'a, M> {
    /// Requests the interrupts of all messages. Until [`Connection::connect`] they are only
    /// acknowledged.
    ///
    /// `requests` has one item per message, in the order of the messages.
    ///
    /// Errors: [`EINVAL`] if there are not as many as messages, [`ENOMEM`], and those of
    /// `request_threaded_irq()`.
    ///
    /// Context: process.
    ///
    /// # Safety
    ///
    /// The connection must not be forgotten: its drop frees the interrupts, whose handlers use what
    /// `'a` borrows.
    pub(crate) unsafe fn new(
        adapter: Arc<Adapter<M>>,
        name: &'static CStr,
        requests: impl IntoIterator<Item = Result<IrqRequest<'a>>>,
    ) -> Result<Self> {
        let count = adapter.messages.len();
        let mut this = Self {
            dpc: None,
            others: KVec::with_capacity(count, GFP_KERNEL)?,
            states: KVec::with_capacity(count, GFP_KERNEL)?,
            adapter,
        };
        for (message, request) in requests.into_iter().enumerate() {
            let handler = Handler {
                adapter: this.adapter.clone(),
                message: message.try_into()?,
            };
            let (request, flags) = (request?, Flags::SHARED);
            if handler.message == this.adapter.dpc_message {
                // SAFETY: The registration is kept in `this`, which the caller does not forget.
                let registration =
                    unsafe { ThreadedRegistration::new(request, flags, name, Ok(handler)) };
                this.dpc = Some(KBox::pin_init(registration, GFP_KERNEL)?);
            } else {
                // SAFETY: As above.
                let registration = unsafe { Registration::new(request, flags, name, Ok(handler)) };
                let registration = KBox::pin_init(registration, GFP_KERNEL)?;
                this.others.push(registration, GFP_KERNEL)?;
            }
        }
        if this.dpc.is_none() || this.others.len() + 1 != count {
            return Err(EINVAL);
        }
        Ok(this)
    }

    /// Puts the states into the messages, one into each, and leaves `states` empty. From here on
    /// the interrupt routine runs.
    ///
    /// Errors: [`EINVAL`] if there are not as many as messages; `states` is left alone then.
    ///
    /// Context: process.
    pub(crate) fn connect(&mut self, states: &mut KVec<M::State>) -> Result {
        if states.len() != self.adapter.messages.len() {
            return Err(EINVAL);
        }
        let dpc = self.dpc.as_ref().ok_or(EINVAL)?;
        // SAFETY: `disconnect`, which the drop of `self` calls before the registrations go, takes
        // every copy of the waker out of the messages.
        let waker = unsafe { dpc.waker() };
        for (slot, state) in self.adapter.messages.iter().zip(states.drain_all()) {
            slot.locked(|inner| inner.phase = Phase::Connected(state, waker));
        }
        // Empty now, it has the room to take them back.
        self.states = core::mem::take(states);
        Ok(())
    }

    /// Takes the states out of the messages. Returns them in the order of the messages; none if
    /// that was done before.
    ///
    /// Interrupts still arrive until the connection is dropped; those of a line are acknowledged.
    /// No DPC runs any more. The states may be [connected](Self::connect) again.
    ///
    /// Context: process, not from the DPC.
    pub(crate) fn disconnect(&mut self) -> KVec<M::State> {
        let mut states = core::mem::take(&mut self.states);
        for slot in &self.adapter.messages {
            let phase =
                slot.locked(|inner| core::mem::replace(&mut inner.phase, Phase::Disconnected));
            if let Phase::Connected(state, _) = phase {
                // Cannot fail: `new` reserved one place per message. If it did, the state would be
                // dropped here, outside the lock.
                let _ = states.push_within_capacity(state);
            }
        }
        // WAIT: handlers
        self.dpc.iter().for_each(|irq| irq.synchronize());
        // WAIT: handlers
        self.others.iter().for_each(|irq| irq.synchronize());
        states
    }
}

impl<'a, M: Miniport + 'a> Drop for Connection<'a, M> {
    fn drop(&mut self) {
        // Only tests come here with states: the driver disconnects first.
        drop(self.disconnect());
        for slot in &self.adapter.messages {
            slot.locked(|inner| inner.phase = Phase::Quiet);
        }
        // The registrations are dropped next: `free_irq()` waits for the handlers and the thread.
        // A handler that runs now, also the one that CONFIG_DEBUG_SHIRQ calls, answers NONE.
    }
}
