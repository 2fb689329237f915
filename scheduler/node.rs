// SPDX-License-Identifier: GPL-2.0

//! [`Node`] names one engine with its FIFO of packets; [`PerNode`] keeps one thing for each.

use core::ops::{
    Index,
    IndexMut, //
};
use kernel::{
    prelude::*,
    uapi, //
};

/// Number of nodes.
pub(crate) const NODES: usize = uapi::RUST_GPU_NODE_COUNT as usize;

/// A node: one FIFO of packets, and what executes them.
#[doc(alias = "NodeOrdinal")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Node {
    /// The control queue of the device.
    Control = uapi::RUST_GPU_NODE_CONTROL,
    /// The cursor queue of the device.
    Cursor = uapi::RUST_GPU_NODE_CURSOR,
    /// The software queue, drained by the submission thread.
    Software = uapi::RUST_GPU_NODE_SOFTWARE,
    /// 3D, in the control queue of the device behind [`Node::Control`].
    Render = uapi::RUST_GPU_NODE_RENDER,
}

impl Node {
    /// All nodes, in the order of their ordinals.
    pub(crate) const ALL: [Self; NODES] =
        [Self::Control, Self::Cursor, Self::Software, Self::Render];

    /// The nodes with an engine of their own, which are queues of the device.
    pub(crate) const ENGINES: [Self; 2] = [Self::Control, Self::Cursor];
}

impl TryFrom<u32> for Node {
    type Error = Error;

    /// Returns the node of an ordinal.
    ///
    /// Errors: [`EINVAL`] if there is none.
    fn try_from(ordinal: u32) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|node| *node as u32 == ordinal)
            .ok_or(EINVAL)
    }
}

/// One thing for each node.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct PerNode<T>([T; NODES]);

impl<T> PerNode<T> {
    /// Takes the things in the order of the nodes' ordinals.
    pub(crate) const fn new(things: [T; NODES]) -> Self {
        Self(things)
    }

    /// Returns each node with its thing.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Node, &T)> {
        Node::ALL.into_iter().zip(&self.0)
    }

    /// Returns each node with its thing, for a change.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (Node, &mut T)> {
        Node::ALL.into_iter().zip(&mut self.0)
    }

    /// Returns all things, for a change.
    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.0.iter_mut()
    }

    /// Returns the thing of the render node, after those of the others in their order.
    #[inline(always)]
    pub(crate) fn split_render(&mut self) -> ([&mut T; NODES - 1], &mut T) {
        let [control, cursor, software, render] = &mut self.0;
        ([control, cursor, software], render)
    }
}

impl<T> Index<Node> for PerNode<T> {
    type Output = T;

    #[inline(always)]
    fn index(&self, node: Node) -> &T {
        let [control, cursor, software, render] = &self.0;
        match node {
            Node::Control => control,
            Node::Cursor => cursor,
            Node::Software => software,
            Node::Render => render,
        }
    }
}

impl<T> IndexMut<Node> for PerNode<T> {
    #[inline(always)]
    fn index_mut(&mut self, node: Node) -> &mut T {
        let [control, cursor, software, render] = &mut self.0;
        match node {
            Node::Control => control,
            Node::Cursor => cursor,
            Node::Software => software,
            Node::Render => render,
        }
    }
}
