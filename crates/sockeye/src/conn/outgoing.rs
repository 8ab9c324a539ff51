//! The first phase of a connection that the loop made.

use crate::client::plan::Plan;
use crate::conn::opening::Opening;
use crate::conn::raw::Raw;
use crate::conn::watched::Watched;
use crate::conn::{Conn, Env, Phase};
use crate::state::EndpointIndex;
use crate::sys::{Address, DescriptorKind, Handle};
use crate::transport::Socket;

impl Conn {
    /// TCP has connected what is to be a WebSocket.
    pub(crate) fn opening(env: &Env, handle: Handle, peer: Address, plan: Box<Plan>) -> Self {
        let socket = Socket::connected(&env.io, handle, &peer);
        Self::new(Phase::Opening(Box::new(Opening::new(plan))), socket, peer)
    }

    /// A connection of a raw endpoint.
    pub(crate) fn raw(env: &Env, handle: Handle, peer: Address, endpoint: EndpointIndex) -> Self {
        let socket = Socket::connected(&env.io, handle, &peer);
        Self::new(Phase::Raw(Box::new(Raw::new(endpoint))), socket, peer)
    }

    /// A connection that the program reads and writes.
    pub(crate) fn watched(handle: Handle, peer: Address, endpoint: EndpointIndex) -> Self {
        let socket = Socket::new(handle, DescriptorKind::Stream, &peer);
        Self::new(Phase::Watched(Watched::new(endpoint, true, true)), socket, peer)
    }
}
