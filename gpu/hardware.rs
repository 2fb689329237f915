// SPDX-License-Identifier: GPL-2.0

//! [`Gpu`] is the scheduler's [`Hardware`]: its nodes are the queues of the device.

use kernel::sync::Arc;

use crate::{
    irq::{
        Adapter,
        Synchronized, //
    },
    ring::Broken,
    scheduler::{
        Fences,
        Hardware,
        Health,
        Node,
        NodeQueue,
        Notify,
        TwoNodes,
        Watchdog, //
    },
    virtqueue::{
        Packet,
        Virtqueue, //
    },
};

use super::{
    reap,
    Gpu,
    State, //
};

impl Hardware for Gpu<'_> {
    type Engine = Virtqueue;

    fn message_of(&self, node: Node) -> u32 {
        self.map.of(node)
    }

    fn notify_message(&self) -> u32 {
        self.map.notify()
    }

    fn node(state: &mut State, node: Node) -> Option<&mut NodeQueue<Virtqueue>> {
        state.nodes[node].as_deref_mut()
    }

    fn control_and_render(state: &mut State) -> Option<TwoNodes<'_, Virtqueue>> {
        let ([control, ..], render) = state.nodes.split_render();
        Some((control.as_deref_mut()?, render.as_deref_mut()?))
    }

    fn notify(state: &mut State) -> Option<&mut Notify> {
        state.notify.as_mut()
    }

    fn poll(state: &mut Synchronized<'_, Self>) {
        if reap(state) {
            state.expect_interrupt();
        }
    }

    fn kick(&self, node: Node) {
        if let Some(address) = self.notify_addresses[node].copy() {
            self.transport.kick(address);
        }
    }

    fn fences(&self) -> &Arc<Fences> {
        &self.fences
    }

    fn watchdog(&self) -> &Watchdog {
        &self.watchdog
    }

    fn health(&self) -> Health {
        match self.failure() {
            Some(Broken::Reset) => Health::Gone,
            Some(_) => Health::NeedsReset,
            None if !self.transport.is_driver_ok() => Health::Reset,
            None => Health::Good,
        }
    }

    fn break_engines(adapter: &Adapter<Self>, health: Health) {
        let cause = match health {
            Health::Gone => Broken::Reset,
            _ => Broken::NeedsReset,
        };
        adapter.miniport().mark_broken(adapter, cause);
    }

    fn recovered(&self) {
        // What the device said of its scanouts meanwhile is lost.
        self.display_event.signal();
    }

    fn tick(adapter: &Adapter<Self>) -> bool {
        let deferred = adapter.miniport().deferred();
        deferred.is_some_and(|deferred| deferred.tick(adapter))
    }

    fn drain(adapter: &Adapter<Self>) {
        if let Some(feeder) = adapter.miniport().feeder() {
            feeder.drain(adapter);
        }
    }

    fn null_packet(node: Node) -> Packet {
        Packet::Null(node)
    }
}
